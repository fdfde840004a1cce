"""The networks whose tensors ``symmetry_success`` judges, as functions of crystals, raw and with symmetry enforced.

Raw is the answer of the network for the structure as stored. Enforced is its answer for the idealised structure,
averaged over the point group (Reynolds operator); for the package's own predictions that is ``enforce_symmetry=True``.
MEGNet and ETGNN have random weights, with the scale and mean of training labels: what is judged is what the
architecture can and cannot do, which no training changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import nn

from ase_comformer.crystals.neighbour_search import pairs_within
from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.graphs.building import build_graph
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.inference.batches import predict
from ase_comformer.tensors.reynolds import project
from ase_comformer.training.data.records import load_records
from benchmarks.baselines import ETGNN, MEGNet

SYMPREC = 1e-2
NEAREST = 12
#: Property -> the data set whose training labels set the scale of untrained networks.
LABELS = {
    "dielectric_tensor": "dielectric_born",
    "piezoelectric_tensor": "piezo_mp",
    "elastic_tensor": "elastic_mp",
}
Tensors = list[NDArray[np.float64] | None]
Predict = Callable[[Sequence[Atoms], str, Sequence[SpaceGroup] | None], Tensors]


@dataclass(frozen=True)
class Subject:
    """A network to judge.

    Attributes:
        name: as printed.
        weights: where they come from.
        predict: (crystals, property, their space groups, or None for raw answers) -> tensors, None where there is none.
        published: what GMTNet's paper reports for it, as printed.
    """

    name: str
    weights: str
    predict: Predict
    published: str = "-"


def nearest_graph(atoms: Atoms, settings: GraphSettings, count: int = NEAREST) -> CrystalGraph:
    """Graph of the ``count`` nearest neighbours, the last shell cut wherever the count ends.

    Of neighbours at one distance, those that rounding puts first are kept: which ones depends on the orientation.
    """
    cutoff = 4.0
    while True:
        pairs = pairs_within(atoms, cutoff)
        if len(pairs.receiver) and np.bincount(pairs.receiver, minlength=len(atoms)).min() >= count:
            break
        cutoff *= 1.3
    order = np.lexsort((pairs.distance, pairs.receiver))
    receiver = pairs.receiver[order]
    rank = np.arange(len(order)) - np.searchsorted(receiver, receiver)
    kept = order[rank < count]
    edges = (pairs.receiver[kept], pairs.sender[kept], pairs.image[kept], pairs.vector[kept])
    return build_graph(atoms, settings, edges=edges)


def evaluated(
    make: Callable[[str], nn.Module], graph_of: Callable[[Atoms, GraphSettings], CrystalGraph] = build_graph
) -> Predict:
    """What evaluates an untrained network of ``make(property)`` on the graphs of ``graph_of``."""

    def run(crystals: Sequence[Atoms], name: str, groups: Sequence[SpaceGroup] | None) -> Tensors:
        torch.manual_seed(5)
        network = make(name).double().eval()
        records = load_records(LABELS[name], splits=("train",))
        labels = np.stack([np.asarray(record.labels[name]) for record in records if not record.flags])
        network.set_statistics(torch.as_tensor(labels))
        found: Tensors = []
        with torch.no_grad():
            for index, atoms in enumerate(crystals):
                group = None if groups is None else groups[index]
                graph = graph_of(group.primitive if group else atoms, network.graph_settings)
                tensor = network(graph)[name][0].numpy()
                found.append(project(name, tensor, group) if group else tensor)
        return found

    return run


def shipped(models: dict[str, str] | str, dtype: str) -> Predict:
    """What evaluates a shipped model, or one per property."""

    def run(crystals: Sequence[Atoms], name: str, groups: Sequence[SpaceGroup] | None) -> Tensors:
        results = predict(
            crystals,
            (name,),
            model=models if isinstance(models, str) else models[name],
            dtype=dtype,
            symprec=SYMPREC,
            enforce_symmetry=groups is not None,
        )
        return [result.get(name) for result in results]

    return run


GMTNET = {
    "dielectric_tensor": "gmtnet-paper-dielectric",
    "piezoelectric_tensor": "gmtnet-paper-piezoelectric",
    "elastic_tensor": "gmtnet-paper-elastic",
}


def subjects(model: str, dtype: str) -> list[Subject]:
    """MEGNet, ETGNN on cut and on whole shells, GMTNet, and the package's model."""
    whole = GraphSettings(kind="shell", neighbours=NEAREST)
    return [
        Subject("MEGNet", "random", evaluated(MEGNet), "0 %*"),
        Subject(f"ETGNN, {NEAREST} nearest", "random", evaluated(ETGNN, nearest_graph), "0 to 55 %*"),
        Subject("ETGNN, shells", "random", evaluated(lambda name: ETGNN(name, graph_settings=whole))),
        Subject("GMTNet", "trained here", shipped(GMTNET, dtype), "100 %*"),
        Subject("ours", model, shipped(model, dtype)),
    ]
