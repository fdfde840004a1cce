"""Networks that the papers compare with, written from their equations with torch-geometric's ``MessagePassing``.

``MEGNet`` (Chem. Mater. 31, 3564, 2019) predicts components of a tensor one by one, without knowledge of rotations;
``ETGNN`` (arXiv:2201.05770) sums products of edge vectors; ``Matformer`` (arXiv:2209.11807) predicts scalars, or
components too. ALIGNN, M3GNet and MEGNet as published by their authors run from their packages in environments of their
own (``benchmarks/peers``).

How they are built and called, the same for all, and the same as for the networks of ``ase_comformer.nn``:

    network = BASELINES["ETGNN"]("piezoelectric_tensor")      # one property per network; widths by keyword
    graph = collate([build_graph(atoms, network.graph_settings) for atoms in structures])
    tensors = network(graph)["piezoelectric_tensor"]          # (B, 3, 6), documented form and unit

A graph may also be torch-geometric's (``CrystalData`` or a ``Batch`` of them). Labels are standardised inside:
``network.set_statistics(labels)`` before training. ``benchmarks.accuracy_training`` trains them.
"""

from benchmarks.baselines.common import Baseline
from benchmarks.baselines.etgnn import ETGNN
from benchmarks.baselines.matformer import Matformer
from benchmarks.baselines.megnet import MEGNet

BASELINES: dict[str, type[Baseline]] = {"MEGNet": MEGNet, "ETGNN": ETGNN, "Matformer": Matformer}

__all__ = ["BASELINES", "ETGNN", "Baseline", "MEGNet", "Matformer"]
