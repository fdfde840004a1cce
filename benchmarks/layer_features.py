"""What every layer of a network knows of a crystal, with the irreps that the features claim to have.

``stages_of(network, graph)`` evaluates a network and returns its features layer by layer: on atoms, of the crystal, and
the output, each as a matrix with a string of irreps that says how it has to change when the crystal is turned.
Layers that work on copies of the atoms (iComFormer sees a crystal from several lattice frames) are averaged over them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.nn.architectures.comformer import EComFormer, IComFormer
from ase_comformer.nn.architectures.gmtnet import CRYSTAL_FEATURES, GMTNet
from ase_comformer.nn.architectures.potential import Potential, derivatives
from ase_comformer.nn.architectures.tensor_network import TensorNetwork
from ase_comformer.nn.layers.frame_views import frame_views
from ase_comformer.properties.registry import tensor_property
from ase_comformer.tensors.forms import from_cartesian, to_irreps
from benchmarks.baselines import ETGNN, Matformer, MEGNet


@dataclass(frozen=True)
class Stage:
    """Features after a layer.

    Attributes:
        name: of the layer.
        level: ``"atoms"``, ``"crystal"`` or ``"output"``.
        irreps: how the columns change under O(3), e.g. ``"16x0e+2x1o"``, component by component as in e3nn.
        values: (A, d) of the atoms, or (1, d) of the crystal.
        per_atom: whether rows belong to atoms, which operations permute.
    """

    name: str
    level: str
    irreps: str
    values: Tensor
    per_atom: bool


def scalars(name: str, values: Tensor, level: str = "atoms") -> Stage:
    """Stage of invariant features (rows, d)."""
    flat = values.reshape(len(values), -1)
    return Stage(name, level, f"{flat.shape[1]}x0e", flat, level == "atoms")


def output(name: str, tensor: Tensor, symbol: str = "") -> Stage:
    """Stage of a predicted property in its documented form, (1, ...) or (A, ...) if it is one per atom."""
    entry = tensor_property(name)
    values = to_irreps(name, tensor).reshape(len(tensor), -1)
    return Stage(symbol or entry.name.replace("_", " "), "output", entry.irreps, values, entry.per_atom)


@contextmanager
def recorded(modules: dict[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Outputs of modules by name, of the last evaluation within the context."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda module, given, result: found.__setitem__(name, result)

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def comformer_stages(network: IComFormer | EComFormer, graph: CrystalGraph) -> list[Stage]:
    """Attention layers and equivariant updates, mean over atoms, energy."""
    paper = network.preset == "paper"
    layers: list[nn.Module] = (
        list(network.att_layers)
        if paper
        else [network.first, *network.attentions]
        if isinstance(network, IComFormer)
        else list(network.attentions)
    )
    modules = {f"attention {number}": layer for number, layer in enumerate(layers, start=1)}
    if isinstance(network, EComFormer) and paper:
        modules["tensor product 1"] = network.equi_update.nlayer_1
        modules["tensor product 2"] = network.equi_update.nlayer_2
    elif isinstance(network, EComFormer):
        modules |= {f"equivariant update {int(key) + 1}": layer for key, layer in network.equivariant.items()}
    with recorded(modules) as found:
        stages = network.stages(graph)
    views = frame_views(graph) if isinstance(network, IComFormer) else None
    made = [scalars("embedding", network.atom_embedding(_numbers_or_descriptors(network, graph)))]
    for name, values in found.items():
        if views is not None and name != "attention 1":
            values, name = views.mean(values), f"{name}, mean over frames"
        if name == "tensor product 1":
            inner = network.equi_update
            irreps = f"{inner.scalars}x0e+{inner.channels}x1o+{inner.channels}x2e"
            made.append(Stage(name, "atoms", irreps, values, True))
        else:
            made.append(scalars(name, values))
    made.append(scalars("mean over atoms", stages["fc" if paper else "pooled"], "crystal"))
    return [*made, scalars("energy", stages["output"], "output")]


def _numbers_or_descriptors(network: nn.Module, graph: CrystalGraph) -> Tensor:
    from ase_comformer.nn.architectures.comformer import paper_features

    return paper_features(graph, None) if network.preset == "paper" else graph.numbers


def gmtnet_stages(network: GMTNet, graph: CrystalGraph) -> list[Stage]:
    """Attention, three tensor products, crystal feature, tensor."""
    name = network.properties[0]
    products = {f"tensor product {number}": layer for number, layer in enumerate(network.equi_update.products, start=1)}
    with recorded(products) as found:
        stages = network.stages(graph)
        tensor = network(graph)[name]
    made = [scalars("embedding", stages["atom_embedding"])]
    made += [
        scalars(f"attention {number}", stages[f"attention_{number - 1}"])
        for number in range(1, len(network.att_layers) + 1)
    ]
    count, channels = network.arguments["scalars"], network.arguments["channels"]
    irreps = [
        f"{count}x0e+{channels}x1o+{channels}x2e",
        f"{count}x0e+{channels}x1o+{channels}x1e+{channels}x2e+{channels}x2o",
        CRYSTAL_FEATURES[name],
    ]
    made += [
        Stage(layer, "atoms", kinds, values, True) for (layer, values), kinds in zip(found.items(), irreps, strict=True)
    ]
    made.append(Stage("mean over atoms", "crystal", CRYSTAL_FEATURES[name], stages["crystal_feature"], False))
    return [*made, output(name, tensor)]


def _trunk_stages(network: Potential | TensorNetwork, found: dict[str, tuple[Tensor, Tensor]]) -> list[Stage]:
    made = []
    for name, (invariant, features) in found.items():
        vectors, tensors = (part.permute(1, 2, 0).flatten(1) for part in features.split((3, 5)))
        channels = features.shape[2]
        irreps = f"{invariant.shape[1]}x0e+{channels}x1o+{channels}x2e"
        made.append(Stage(name, "atoms", irreps, torch.cat([invariant, vectors, tensors], dim=1), True))
    return made


def potential_stages(network: Potential, graph: CrystalGraph) -> list[Stage]:
    """Cartesian layers, energies of atoms, forces, stress."""
    layers = {f"layer {number}": layer for number, layer in enumerate(network.trunk.layers, start=1)}
    with recorded(layers) as found:
        result = derivatives(network, graph)
    return [
        scalars("embedding", network.trunk.embedding(graph.numbers)),
        *_trunk_stages(network, found),
        scalars("energies of atoms", result.energies[:, None]),
        scalars("energy", result.energy[:, None].to(result.stress.dtype), "output"),
        Stage("forces", "output", "1o", result.forces, True),
        output("dielectric_tensor", result.stress, "stress"),  # another symmetric matrix
    ]


def tensor_network_stages(network: TensorNetwork, graph: CrystalGraph) -> list[Stage]:
    """Cartesian layers, pooled scalars of the crystal, tensors."""
    layers: dict[str, nn.Module] = {
        f"layer {number}": layer for number, layer in enumerate(network.trunk.layers, start=1)
    }
    with recorded({**layers, "crystal": network.crystal}) as found:
        tensors = network(graph, network.properties)
    crystal = found.pop("crystal")
    return [
        scalars("embedding", network.trunk.embedding(graph.numbers)),
        *_trunk_stages(network, found),
        scalars("pooled scalars", crystal, "crystal"),
        *(output(name, tensor) for name, tensor in tensors.items()),
    ]


def megnet_stages(network: MEGNet, graph: CrystalGraph) -> list[Stage]:
    """Blocks, their global state, components of a tensor."""
    blocks = {f"block {number}": block for number, block in enumerate(network.blocks, start=1)}
    with recorded(blocks) as found:
        tensor = network(graph)[network.properties[0]]
    made = [scalars("embedding", network.embedding(graph.numbers))]
    made += [scalars(name, nodes) for name, (nodes, _, _) in found.items()]
    made.append(scalars("global state", found[f"block {len(blocks)}"][2], "crystal"))
    return [*made, output(network.properties[0], tensor)]


def etgnn_stages(network: ETGNN, graph: CrystalGraph) -> list[Stage]:
    """Gated convolutions, tensors of atoms, tensor of the crystal."""
    name = network.properties[0]
    layers: dict[str, nn.Module] = {
        f"convolution {number}": layer for number, layer in enumerate(network.layers, start=1)
    }
    with recorded({**layers, "tensors of atoms": network.tensors}) as found:
        tensor = network(graph)[name]
    of_atoms = to_irreps(name, from_cartesian(found.pop("tensors of atoms"), name))
    made = [scalars("embedding", network.embedding(graph.numbers))]
    made += [scalars(layer, nodes) for layer, (nodes, _) in found.items()]
    made.append(Stage("tensors of atoms", "atoms", network.entry.irreps, of_atoms, True))
    return [*made, output(name, tensor)]


def matformer_stages(network: Matformer, graph: CrystalGraph) -> list[Stage]:
    """Attention layers, output."""
    layers = {f"attention {number}": layer for number, layer in enumerate(network.layers, start=1)}
    with recorded({**layers, "embedding": network.atom_embedding}) as found:
        result = network(graph)[network.properties[0]]
    made = [scalars(name, values) for name, values in found.items()]
    if not network.entry.shape:
        return [*made, scalars(network.properties[0].replace("_", " "), result[:, None], "output")]
    return [*made, output(network.properties[0], result)]


#: Network class -> what evaluates it layer by layer.
PROBES: dict[type[nn.Module], Callable[..., list[Stage]]] = {
    IComFormer: comformer_stages,
    EComFormer: comformer_stages,
    GMTNet: gmtnet_stages,
    Potential: potential_stages,
    TensorNetwork: tensor_network_stages,
    MEGNet: megnet_stages,
    ETGNN: etgnn_stages,
    Matformer: matformer_stages,
}


def stages_of(network: nn.Module, graph: CrystalGraph) -> list[Stage]:
    """Evaluate a network and return its features layer by layer, detached.

    Raises:
        TypeError: nothing says how to look into this class; add it to ``PROBES``.
    """
    probe = PROBES.get(type(network))
    if probe is None:
        known = ", ".join(cls.__name__ for cls in PROBES)
        raise TypeError(f"no probe for {type(network).__name__}: add one to PROBES, which has {known}")
    return [Stage(s.name, s.level, s.irreps, s.values.detach(), s.per_atom) for s in probe(network, graph)]
