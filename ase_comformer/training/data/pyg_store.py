"""The store of graphs behind torch-geometric's loader, for runs that want its datasets, samplers or workers."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch_geometric.loader import DataLoader

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.graphs.pyg import CrystalData, from_pyg, to_pyg
from ase_comformer.training.data.store import GraphStore


class PygStore(GraphStore):
    """A store whose batches come from a torch-geometric ``DataLoader`` over one ``CrystalData`` for each crystal.

    The graphs are those of ``GraphStore``, to the bit; ``dataset`` can be given to other loaders.

    Args:
        graph: the batch of all crystals, each contiguous.
        workers: processes that put batches together; none where zero.
    """

    def __init__(self, graph: CrystalGraph, workers: int = 0) -> None:
        super().__init__(graph)
        self.workers = workers
        self.dataset: list[CrystalData] = [to_pyg(self.batch(torch.tensor([k]))) for k in range(len(self))]

    def stream(self, batches: Sequence[Tensor]) -> Iterator[CrystalGraph]:
        """Give the graphs of batches of indices one after the other."""
        order = [crystals.tolist() for crystals in batches]
        loader = DataLoader(
            self.dataset,  # type: ignore[arg-type]
            batch_sampler=order,
            num_workers=self.workers,
            generator=torch.Generator(),  # of its own: the state of the global one stays what it is
        )
        return (from_pyg(batch) for batch in loader)
