"""Learning what to add to a potential's energies: networks that read a foundation, which is evaluated once.

The foundation does not change, so its readings of all crystals are kept and an epoch costs what the small network
costs. Edges are not looked at afterwards and leave the graphs.
"""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.schema import without_rows
from ase_comformer.models.registry import load_model
from ase_comformer.nn.architectures.referred_energy import Readings
from ase_comformer.training.config import TrainingConfig
from ase_comformer.training.data.samples import SampleSet
from ase_comformer.training.data.store import GraphStore
from ase_comformer.training.tasks.losses import loss_terms
from ase_comformer.training.tasks.task import Terms
from ase_comformer.training.tasks.tensor_task import TensorTask

logger = logging.getLogger(__name__)

#: Crystals whose readings are taken at once.
_BATCH = 64


class ReadingTask(TensorTask):
    """Batches of readings instead of graphs with edges; see the module docstring and ``TensorTask``."""

    def __init__(self, config: TrainingConfig, network: Any, folder: Path | None) -> None:
        network.attach(load_model(network.foundation, "cpu").entries("energy")[0])
        super().__init__(config, network, folder)
        self.readings: dict[int, Readings] = {}
        for samples in (self.train_set, self.val_set):
            self.readings[id(samples)] = self._read(samples.store)
            samples.store = GraphStore(without_rows(samples.store.graph, "edge", "operation", "site"))
        taught = self.readings[id(self.train_set)]
        network.feature_mean.copy_(taught.features.mean(0))
        network.feature_scale.copy_(taught.features.std(0) + 1e-3)
        crystals, energies = self.train_set.labels["formation_energy"]
        self._fit_element_reference(crystals, energies - taught.energy[crystals])

    def _set_element_reference(self) -> None:
        """Wait for the readings."""

    def _read(self, store: GraphStore) -> Readings:
        logger.info("reading %d crystals", len(store))
        parts = [self.network.edge_geometry(store.batch(some)) for some in torch.arange(len(store)).split(_BATCH)]
        return Readings(torch.cat([part.features for part in parts]), torch.cat([part.energy for part in parts]))

    def _terms(self, samples: SampleSet, crystals: Tensor, graph: CrystalGraph | None = None) -> Terms:
        graph, targets, _ = samples.batch(crystals, self.config.properties, graph)
        known = self.readings[id(samples)]
        own = Readings(known.features[samples.store.rows("node", crystals)], known.energy[crystals])
        return loss_terms(self.network(graph, self.network.properties, edge=own), targets)
