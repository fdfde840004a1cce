"""The matrices of one layer of a potential, arranged for ``analytic``; conventions and index letters as there."""

import torch
from torch import Tensor

from ase_comformer.nn.layers.cartesian import CartesianLayer

#: Vectors (0) or tensors (1), of the eight components of features.
_KIND = [0, 0, 0, 1, 1, 1, 1, 1]
#: Where ``CartesianLayer`` has gates and mixtures of vectors and tensors among its five updates; 3 mixes dyads in.
_GATE, _MIX, DYAD = (0, 2), (1, 4), 3


class LayerWeights:
    """The matrices of a layer for features of both kinds at once, transposed where products want them so."""

    def __init__(self, layer: CartesianLayer) -> None:
        self.layer, self.channels = layer, layer.parts[1]
        self.kind = torch.tensor(_KIND, device=layer.radial.weight.device)
        self.kind_indicator = torch.nn.functional.one_hot(self.kind).t().to(layer.radial.weight.dtype)  # (2, 8)
        self.same_kind = self.kind_indicator.t() @ self.kind_indicator  # (8, 8)
        # bias as a further column: sums of weights are sums of a hidden feature that is one
        edge = torch.cat([layer.edge.weight, layer.edge.bias.unsqueeze(1)], dim=1)
        self.to_scalars, vectors, tensors, *pair_columns = edge.split(
            [layer.parts[0], *([self.channels] * 2), *([2 * self.channels] if layer.incoming else [])]
        )
        self.to_features = torch.stack([vectors, tensors])[self.kind]  # (8, C, H + 1)
        self.to_pairs = pair_columns[0] if pair_columns else None
        self.message = torch.stack([layer.vector_message.weight, layer.tensor_message.weight])[self.kind]
        self.pair = torch.stack([layer.vector_pair.weight, layer.tensor_pair.weight])[self.kind]
        self.to_features_transposed, self.message_transposed, self.pair_transposed = (
            weight.transpose(1, 2).contiguous() for weight in (self.to_features, self.message, self.pair)
        )
        self.ends = torch.cat([layer.receiver.weight, layer.sender.weight])  # (2H, C0)
        self.ends_bias = torch.cat([layer.receiver.bias, torch.zeros_like(layer.receiver.bias)])
        self.coupling = layer.products.coupling.to(edge.dtype)  # (15, 64)
        updates = torch.zeros(5, 21, dtype=edge.dtype, device=edge.device)
        updates[list(_GATE), :8], updates[list(_MIX), 8:16], updates[DYAD, 16:] = (
            self.kind_indicator,
            self.kind_indicator,
            1.0,
        )
        self.updates = updates  # sums the products of ``_Pass.backward`` over components
        self.gate_rows, self.mix_rows = (torch.tensor(rows, device=edge.device)[self.kind] for rows in (_GATE, _MIX))

    def table(self, scalars: Tensor) -> Tensor:
        """(N, C0) -> (2N, H), what scalars add to the edge network of receivers, above what they add to senders'."""
        return torch.cat(torch.nn.functional.linear(scalars, self.ends, self.ends_bias).chunk(2, dim=1))

    def spread(self, values: Tensor) -> Tensor:
        """(2, n, C) -> (8, n, C), a value for all components of vectors and one for those of tensors."""
        return values.index_select(0, self.kind)

    def summed(self, products: Tensor) -> Tensor:
        """(8, n, C) -> (2, n, C), over the components of vectors and over those of tensors."""
        return (self.kind_indicator @ products.flatten(1)).view(2, *products.shape[1:])

    def mean_size(self, products: Tensor) -> Tensor:
        """(8, n, C) -> (8, n, 1), for vectors and for tensors the sum over components, mean over channels."""
        return (self.same_kind @ products.mean(2)).unsqueeze(2)
