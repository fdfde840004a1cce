"""Forces on structures whose exact symmetry is known, such as supercells in which one atom is displaced.

No symmetry is searched and only what the group leaves independent is evaluated (docs/architecture.md section 6).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.devices import shielded_device
from ase_comformer.errors import UnknownNameError
from ase_comformer.inference.plausibility import require_plausible
from ase_comformer.inference.potential_ensemble import PreparedStructure
from ase_comformer.inference.predictor import Predictor

#: Edges that are evaluated together: more do not fit the caches of a core.
_EDGES = 8000


def forces_of_symmetric(predictor: Predictor, groups: Sequence[SpaceGroup]) -> list[NDArray[np.float64]]:
    """Evaluate forces on structures with known groups.

    Args:
        predictor: a model with a potential.
        groups: each acts exactly on its ``primitive``, the structure to evaluate, as a whole.

    Returns:
        (n, 3) eV/A for the ``primitive`` of each group, in order.

    Raises:
        UnknownNameError: the model has no potential.
        UnknownElementError: the potential does not know an element.
        InvalidStructureError: atoms that overlap.

    Example:
        >>> from ase.build import bulk
        >>> from ase_comformer.crystals.space_group import analyse_space_group
        >>> group = analyse_space_group(bulk("MgO", "rocksalt", a=4.21))
        >>> bool(abs(forces_of_symmetric(Predictor(), [group])[0]).max() < 1e-4)
        True
    """
    if predictor.potential is None:
        raise UnknownNameError(f"Model {predictor.model.name!r} has no potential. It predicts: {predictor.properties}.")
    for group in groups[:1]:
        predictor.preparer.validate_potential(group.primitive, ("forces",))
    found: list[NDArray[np.float64]] = []
    with shielded_device("cpu"):
        for batch in _batches([predictor.potential.prepare_symmetric(group) for group in groups]):
            for crystal, values in zip(batch, predictor.potential.evaluate_batch(batch, ("forces",)), strict=True):
                require_plausible(values, crystal.atoms)
                found.append(values["forces"])
    return found


def _batches(crystals: Sequence[PreparedStructure]) -> Iterator[list[PreparedStructure]]:
    """Neighbours in the list that are of one kind, reduced or not, and small enough together."""
    batch: list[PreparedStructure] = []
    edges = 0
    for crystal in crystals:
        size = len(crystal.graph.edge_receiver)
        if batch and (edges + size > _EDGES or batch[0].graph.is_reduced != crystal.graph.is_reduced):
            yield batch
            batch, edges = [], 0
        batch.append(crystal)
        edges += size
    if batch:
        yield batch
