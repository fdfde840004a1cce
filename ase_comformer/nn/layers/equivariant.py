"""Equivariant layers: edge harmonics, tensor products, the eComFormer update (default and as published).

Features are real irreps in e3nn's component order (l = 1: x, y, z; l = 2: xz, xy, y^2 - (x^2 + z^2) / 2, yz, (z^2 -
x^2) / 2), harmonics of unit vectors with "component" normalisation. In a symmetry-reduced graph a sender's features
are D(R) f of its node; wherever they are contracted to scalars, D(R) is moved onto the edge vector, (D f) . Y(r) = f
. Y(R^T r), so no feature is ever rotated, and sums are projected on the site group. Clebsch-Gordan tensors are made
in float64 and cast last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.nn.layers.attention import scatter_sum
from ase_comformer.tensors.irreps import parse_irreps, wigner_3j


def harmonics_l1_l2(vector: Tensor) -> Tensor:
    """Component-normalised harmonics of the directions: (E, 3) -> (E, 8), first l = 1 (3), then l = 2 (5)."""
    x, y, z = (vector / torch.linalg.vector_norm(vector, dim=-1, keepdim=True)).unbind(-1)
    root3, root5, root15 = 3.0**0.5, 5.0**0.5, 15.0**0.5
    return torch.stack(
        (
            root3 * x,
            root3 * y,
            root3 * z,
            root15 * x * z,
            root15 * x * y,
            root5 * (y * y - 0.5 * (x * x + z * z)),
            root15 * y * z,
            0.5 * root15 * (z * z - x * x),
        ),
        dim=-1,
    )


@dataclass(frozen=True)
class EdgeHarmonics:
    """Harmonics l = 1, 2 of every edge, (E, 8), in the frame of the crystal and in the frame of the sender's node."""

    crystal: Tensor
    sender: Tensor

    @classmethod
    def of(cls, graph: CrystalGraph) -> "EdgeHarmonics":
        """Evaluate once per forward pass."""
        crystal = harmonics_l1_l2(graph.edge_vector)
        rotation = graph.edge_rotation
        if rotation is None:
            return cls(crystal, crystal)
        return cls(crystal, harmonics_l1_l2(torch.einsum("exy,ex->ey", rotation, graph.edge_vector)))


def project_on_site_group(values: Tensor, graph: CrystalGraph) -> Tensor:
    """Average 1o + 2e node features (n, 8, channels) over the site group; unchanged in a plain graph."""
    if graph.site_vector_projector is None or graph.site_tensor_projector is None:
        return values
    return torch.cat(
        (torch.bmm(graph.site_vector_projector, values[:, :3]), torch.bmm(graph.site_tensor_projector, values[:, 3:])),
        dim=1,
    )


def _contract(product: Tensor) -> Tensor:
    """Sum the l = 1 and the l = 2 components: (rows, 8, channels) -> (rows, 2 channels)."""
    vectors, tensors = product.split((3, 5), dim=1)
    return torch.cat((vectors.sum(1), tensors.sum(1)), dim=1)


class SmoothEquivariantUpdate(nn.Module):
    """eComFormer's equivariant update of the default networks: scalars -> 0e + 1o + 2e -> scalars, depthwise.

    Step 1 sums radial weight * sender scalar * Y_l(r) into D vectors and D tensors per atom. Step 2 contracts the
    senders' vectors and tensors with Y_l(r) and sums again; together with the atom's own quadratic invariants (v .
    v', t : t') they update h through an MLP. Messages carry ``weight`` (orbit size times envelope).
    """

    def __init__(self, width: int, radial_width: int, channels: int, *, message_scale: float = 0.1) -> None:
        """Node width C, size of the radial basis, vectors and tensors D per atom, constant factor on sums."""
        super().__init__()
        self.channels, self.message_scale = channels, message_scale
        self.norm = nn.LayerNorm(width)
        self.node = nn.Linear(width, 2 * channels)
        self.radial = nn.Linear(radial_width, 4 * channels, bias=False)
        self.mix = nn.Parameter(torch.randn(2, channels, 3 * channels) / channels**0.5)
        self.update = nn.Sequential(nn.Linear(4 * channels + width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(
        self, h: Tensor, radial: Tensor, harmonics: EdgeHarmonics, weight: Tensor, graph: CrystalGraph
    ) -> Tensor:
        """Update h (n, C), radial basis (E, radial_width), harmonics of the edges, weight (E, 1) -> h (n, C)."""
        channels, size = self.channels, h.shape[0]
        receiver, sender = graph.edge_receiver, graph.edge_sender
        normalised = self.norm(h)
        radial_1, radial_2 = (self.radial(radial) * (weight * self.message_scale)).split(2 * channels, dim=1)
        message = radial_1 * self.node(normalised).index_select(0, sender)
        to_vectors, to_tensors = message[:, None].split(channels, dim=2)
        outer = torch.cat((to_vectors.expand(-1, 3, -1), to_tensors.expand(-1, 5, -1)), dim=1)
        x = scatter_sum(outer * harmonics.crystal[:, :, None], receiver, size)
        x = project_on_site_group(x, graph)
        mixed = torch.cat((x[:, :3] @ self.mix[0], x[:, 3:] @ self.mix[1]), dim=1)  # (n, 8, 3 D)
        left, right, sent = mixed.split(channels, dim=2)
        invariants = _contract(left * right)
        contracted = _contract(sent.index_select(0, sender) * harmonics.sender[:, :, None])
        summed = scatter_sum(radial_2 * contracted, receiver, size)
        return h + self.update(torch.cat((normalised, invariants, summed), dim=1))


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # what is kept may serve training later
def clebsch_gordan(
    degrees: tuple[int, int, int], dtype: torch.dtype, device: torch.device, *, rounded: bool = False
) -> Tensor:
    """Real coupling tensor (2 l1 + 1, 2 l2 + 1, 2 l3 + 1) of norm one, made in float64 and cast.

    ``rounded`` takes it through float32, as published checkpoints store it (error 1e-8).
    """
    exact = wigner_3j(*degrees)
    return (exact.to(torch.float32) if rounded else exact).to(dtype=dtype, device=device)


@dataclass(frozen=True)
class _Path:
    right: int  # block of the right irreps
    out: int  # block of the output irreps
    channels: int  # multiplicity of the output
    degrees: tuple[int, int, int]
    coefficient: float


@dataclass(frozen=True)
class _Block:
    """One term of a string of irreps: ``multiplicity`` copies of degree l and parity p."""

    multiplicity: int
    degree: int
    parity: int

    @property
    def dim(self) -> int:
        return self.multiplicity * (2 * self.degree + 1)

    def in_product(self, left: "_Block", right: "_Block") -> bool:
        """Whether this irrep occurs in the product of two others (triangle rule and parity)."""
        triangle = abs(left.degree - right.degree) <= self.degree <= left.degree + right.degree
        return triangle and self.parity == left.parity * right.parity


def _blocks(irreps: str) -> list[_Block]:
    return [_Block(*term) for term in parse_irreps(irreps)]


class TensorProduct:
    """Fully connected tensor product with weights given per row: e3nn's weight layout and default normalisation.

    Component irrep normalisation, element path normalisation: coefficient sqrt((2 l_out + 1) / number of weights that
    feed one output channel). Holds no parameters; works in the dtype of its input.
    """

    def __init__(self, left: str, right: str, out: str, *, rounded: bool = False) -> None:
        """Irreps in e3nn's notation, right ones once each, outputs keep their order; ``rounded`` as the couplings."""
        self.rounded = rounded
        self.left, self.right, self.out = map(_blocks, (left, right, out))
        self.left_dim, self.right_dim, self.out_dim = (
            sum(block.dim for block in blocks) for blocks in (self.left, self.right, self.out)
        )
        if any(block.multiplicity != 1 for block in self.right):
            raise ValueError(f"the right irreps must have multiplicity one, got {right}; split them into single ones")
        found = [
            (i, j, k)
            for i, first in enumerate(self.left)
            for j, second in enumerate(self.right)
            for k, result in enumerate(self.out)
            if result.in_product(first, second)
        ]
        fan_in = dict.fromkeys(range(len(self.out)), 0)
        for i, _, k in found:
            fan_in[k] += self.left[i].multiplicity
        # e3nn stores (left channel, output channel) blocks path by path; here all paths from one left block are columns
        # of one matrix, so that they cost one matrix product per row
        self._paths: list[list[_Path]] = [[] for _ in self.left]
        columns: list[list[Tensor]] = [[] for _ in self.left]
        start = 0
        for i, j, k in found:
            first, second, result = self.left[i], self.right[j], self.out[k]
            mul, mul_out = first.multiplicity, result.multiplicity
            degrees = (first.degree, second.degree, result.degree)
            coefficient = ((2 * result.degree + 1) / fan_in[k]) ** 0.5
            self._paths[i].append(_Path(j, k, mul_out, degrees, coefficient))
            columns[i].append(torch.arange(start, start + mul * mul_out).view(mul, mul_out))
            start += mul * mul_out
        self.weight_count = start
        flat = [torch.cat(block, dim=1).flatten() if block else torch.empty(0, dtype=torch.int64) for block in columns]
        self._sizes = [len(block) for block in flat]
        #: (weight_count,) e3nn's position of each weight in the order that ``evaluate`` takes.
        self.order = torch.cat(flat)

    def __call__(self, left: Tensor, right: Tensor, weight: Tensor) -> Tensor:
        """Multiply left (E, left_dim) by right (E, right_dim), weight (E or 1, weight_count), to give (E, out_dim)."""
        return self.evaluate(left, right, weight.index_select(1, self.order.to(weight.device)))

    def evaluate(self, left: Tensor, right: Tensor, weight: Tensor) -> Tensor:
        """The product with weights already in ``order``."""
        rows = left.shape[0]
        harmonics = right.split([block.dim for block in self.right], dim=1)
        parts: list[list[Tensor]] = [[] for _ in self.out]
        cache: dict[tuple[int, tuple[int, int, int], float], Tensor] = {}
        blocks = zip(left.split([part.dim for part in self.left], dim=1), weight.split(self._sizes, dim=1), strict=True)
        for block, (x, w), paths in zip(self.left, blocks, self._paths, strict=True):
            if not paths:
                continue
            mul = block.multiplicity
            mixed = x.reshape(rows, mul, 2 * block.degree + 1).transpose(1, 2) @ w.reshape(-1, mul, w.shape[1] // mul)
            for path, term in zip(paths, mixed.split([path.channels for path in paths], dim=2), strict=True):
                y = harmonics[path.right]
                parts[path.out].append(self._couple(term, y, path, cache).reshape(rows, -1))
        sums = [
            sum(terms[1:], start=terms[0]) if terms else left.new_zeros((rows, part.dim))
            for terms, part in zip(parts, self.out, strict=True)
        ]
        return torch.cat(sums, dim=1)

    def _couple(
        self,
        term: Tensor,
        y: Tensor,
        path: _Path,
        cache: dict[tuple[int, tuple[int, int, int], float], Tensor],
    ) -> Tensor:
        """Mixed left features (E, 2 l1 + 1, channels) with harmonics (E, 2 l2 + 1) -> (E, channels, 2 l3 + 1)."""
        l1, l2, l3 = path.degrees
        if 0 in path.degrees:  # the coupling tensor is a multiple of the identity
            scaled = y * (path.coefficient / (2 * max(path.degrees) + 1) ** 0.5)
            product = term * scaled[:, :, None]  # l1 = 0 or l2 = 0 broadcasts, l3 = 0 is a scalar product
            return product.sum(1) if l3 == 0 else product.transpose(1, 2)
        key = (path.right, path.degrees, path.coefficient)
        if key not in cache:
            coupling = clebsch_gordan(path.degrees, y.dtype, y.device, rounded=self.rounded) * path.coefficient
            matrix = coupling.transpose(0, 1).reshape(2 * l2 + 1, -1)
            cache[key] = (y @ matrix).view(-1, 2 * l1 + 1, 2 * l3 + 1)
        return torch.bmm(term.transpose(1, 2), cache[key])


class PaperEquivariantLayer(nn.Module):
    """Mean over edges of FullyConnectedTensorProduct(x_sender, Y(r); weights = MLP(edge features)), as published.

    ``fc`` = Linear, Softplus, Linear, one weight set per edge. A residual layer adds the input padded with zeros.
    """

    def __init__(
        self, irreps_in: str, irreps_out: str, edge_width: int, *, residual: bool, rounded: bool = False
    ) -> None:
        """Irreps of input and output (e3nn's notation), edge width, whether to add the input, rounded couplings."""
        super().__init__()
        self.residual = residual
        self.product = TensorProduct(irreps_in, "0e+1o+2e", irreps_out, rounded=rounded)
        self.fc = nn.Sequential(
            nn.Linear(edge_width, edge_width), nn.Softplus(), nn.Linear(edge_width, self.product.weight_count)
        )

    def forward(
        self, x: Tensor, edges: Tensor, harmonics: Tensor, receiver: Tensor, sender: Tensor, weight: Tensor
    ) -> Tensor:
        """Evaluate the layer.

        x (n, dim_in), edges (E, edge_width), harmonics (E, 9) with l = 0, 1, 2, receiver and sender (E,), weight (E,
        1) -> (n, dim_out).
        """
        message = self.messages(x.index_select(0, sender), edges, harmonics)
        total = scatter_sum(weight, receiver, x.shape[0])
        return self.update(x, scatter_sum(message * weight, receiver, x.shape[0]), total)

    def messages(self, sent: Tensor, edges: Tensor, harmonics: Tensor) -> Tensor:
        """Features of the senders (E, dim_in), edges (E, edge_width), harmonics (E, 9) -> messages (E, dim_out)."""
        product, last = self.product, self.fc[2]
        assert isinstance(last, nn.Linear)
        order = product.order.to(edges.device)
        weights = nn.functional.linear(self.fc[1](self.fc[0](edges)), last.weight[order], last.bias[order])
        return product.evaluate(sent, harmonics, weights)

    def update(self, x: Tensor, summed: Tensor, total: Tensor) -> Tensor:
        """Nodes x (n, dim_in), their summed messages (n, dim_out) and sums of weights (n, 1) -> (n, dim_out)."""
        out = summed / total.clamp(min=1e-12)
        if self.residual:
            out = out + nn.functional.pad(x, (0, out.shape[1] - x.shape[1]))
        return out


class PaperEquivariantUpdate(nn.Module):
    """eComFormer's equivariant update as published: 64x0e -> 64x0e + 8x1o + 8x2e -> 64x0e, BatchNorm, skip."""

    def __init__(self, width: int, scalars: int = 64, channels: int = 8) -> None:
        """Node and edge width C, scalars and l = 1, 2 channels inside."""
        super().__init__()
        inner = f"{scalars}x0e+{channels}x1o+{channels}x2e"
        self.scalars, self.channels = scalars, channels
        self.node_linear = nn.Linear(width, scalars)
        self.skip_linear = nn.Linear(width, width)
        self.nlayer_1 = PaperEquivariantLayer(f"{scalars}x0e", inner, width, residual=True)
        self.nlayer_2 = PaperEquivariantLayer(inner, f"{scalars}x0e", width, residual=False)
        self.bn = nn.BatchNorm1d(scalars)
        self.node_linear_2 = nn.Linear(scalars, width)

    def forward(
        self, h: Tensor, edges: Tensor, harmonics: EdgeHarmonics, weight: Tensor, graph: CrystalGraph
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Update h (n, C), edges (E, C), weight (E, 1) -> h (n, C) and the outputs of the two tensor products."""
        receiver, sender = graph.edge_receiver, graph.edge_sender
        ones = torch.ones_like(weight)
        crystal, at_sender = (torch.cat((ones, y), dim=1) for y in (harmonics.crystal, harmonics.sender))
        first = self.nlayer_1(self.node_linear(h), edges, crystal, receiver, sender, weight)
        first = self._project(first, graph)
        second = self.nlayer_2(first, edges, at_sender, receiver, sender, weight)
        softplus = nn.functional.softplus
        out = softplus(self.node_linear_2(softplus(self.bn(second)))) + self.skip_linear(h)
        return out, (first, second)

    def _project(self, x: Tensor, graph: CrystalGraph) -> Tensor:
        if graph.site_vector_projector is None:
            return x
        scalars, vectors, tensors = x.split((self.scalars, 3 * self.channels, 5 * self.channels), dim=1)
        split = (vectors.reshape(-1, self.channels, 3), tensors.reshape(-1, self.channels, 5))
        stacked = project_on_site_group(torch.cat(split, dim=2).transpose(1, 2), graph).transpose(1, 2)
        return torch.cat((scalars, stacked[:, :, :3].flatten(1), stacked[:, :, 3:].flatten(1)), dim=1)
