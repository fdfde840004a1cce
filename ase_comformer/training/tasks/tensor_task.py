"""Learning crystal properties (tensors, formation energy) from labelled crystals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ase_comformer.errors import UnknownNameError
from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.properties.registry import label_owner
from ase_comformer.training.config import TrainingConfig
from ase_comformer.training.data.samples import SampleSet, load_samples
from ase_comformer.training.tasks.losses import loss_terms
from ase_comformer.training.tasks.task import Task, Terms

#: Ways of putting batches together.
LOADERS = ("store", "pyg")


@dataclass
class Loaded:
    """Indices (b,) of some training crystals, and their graph."""

    crystals: Tensor
    graph: CrystalGraph

    def __len__(self) -> int:
        return len(self.crystals)


class TensorTask(Task):
    """Graphs are built once and cached; every record is seen ``repeat`` times per epoch, below 1 in some of them."""

    def __init__(self, config: TrainingConfig, network: Any, folder: Path | None) -> None:
        if config.loader not in LOADERS:
            raise UnknownNameError(f"loader {config.loader!r} is unknown: choose from {', '.join(LOADERS)}")
        self.config, self.network = config, network
        options: dict[str, Any] = {
            "properties": config.properties,
            "settings": network.graph_settings,
            "reduced": config.reduced,
            "max_atoms": config.max_atoms,
            "folder": folder,
            "cache": Path(config.output) / "cache",
        }
        if hasattr(network, "fidelities"):
            options["fidelities"] = network.fidelities
        self.train_set = load_samples(config.datasets, config.splits, fraction=config.fraction, **options)
        self.val_set = load_samples(config.datasets, ["val"], **options)
        if config.loader == "pyg":
            from ase_comformer.training.data.pyg_store import PygStore

            self.train_set.store = PygStore(self.train_set.store.graph)
        repeats = torch.tensor([float(config.repeat.get(name, 1)) for name in config.datasets])
        self.repeats = repeats[self.train_set.dataset]
        self.samples_per_epoch = round(float(self.repeats.sum()))
        self._set_element_reference()

    def _set_element_reference(self) -> None:
        """Least-squares energy per element, so that the network learns the rest."""
        if "formation_energy" not in self.train_set.labels or not hasattr(self.network, "element_reference"):
            return
        self._fit_element_reference(*self.train_set.labels["formation_energy"])

    def _fit_element_reference(self, crystals: Tensor, energies: Tensor) -> None:
        """Set the energies of the elements to those that fit ``energies`` (r,) of crystals (r,) best."""
        graph = self.train_set.store.graph
        composition = torch.zeros(graph.crystal_count, len(self.network.element_reference))
        composition.index_put_((graph.node_crystal, graph.numbers), graph.node_weight, accumulate=True)
        matrix = composition[crystals].double()
        ridge = matrix.T @ matrix + 1e-2 * torch.eye(matrix.shape[1], dtype=torch.float64)
        solution = torch.linalg.solve(ridge, matrix.T @ energies.double())
        self.network.element_reference.copy_(solution)

    def order(self, generator: torch.Generator) -> Tensor:
        """See ``Task``."""
        whole = self.repeats.floor()
        more = torch.rand(len(self.repeats), generator=generator) < self.repeats - whole
        pool = torch.repeat_interleave(torch.arange(len(self.repeats)), whole.long() + more)
        return pool[torch.randperm(len(pool), generator=generator)]

    def load(self, batches: Sequence[Tensor]) -> Iterator[Loaded]:
        """See ``Task``."""
        yield from map(Loaded, batches, self.train_set.store.stream(batches))

    def terms(self, samples: Loaded) -> Terms:
        """See ``Task``."""
        return self._terms(self.train_set, samples.crystals, samples.graph)

    def validation(self) -> Iterator[Terms]:
        """See ``Task``."""
        for crystals in torch.arange(len(self.val_set)).split(128):
            yield self._terms(self.val_set, crystals)

    def _terms(self, samples: SampleSet, crystals: Tensor, graph: CrystalGraph | None = None) -> Terms:
        graph, targets, fidelity = samples.batch(crystals, self.config.properties, graph)
        asked = {label_owner(name) for name in targets.rows}
        if not asked:
            return {}
        ordered = [name for name in self.network.properties if name in asked]
        if len(getattr(self.network, "fidelities", ())) > 1:
            predictions = self.network(graph, ordered, fidelity)
        else:
            predictions = self.network(graph, ordered)
        return loss_terms(predictions, targets)
