"""The space group of a crystal: operations, site permutations, idealised structure, orbits of atoms and edges.

spglib finds the group within ``symprec``; its operations carry noise of that size, so they are rebuilt here from
the Hall number, and the metric and the positions are averaged over the group. Everything downstream (reduced
graphs, projection, reports) uses the idealised primitive cell, kept in the Cartesian orientation of the input.

Index letters: ``g`` operation (G of them, identity first), ``a`` atom of the primitive cell (p), ``i`` input atom (N).
"""

import functools
import logging
import warnings
from dataclasses import dataclass

import numpy as np
import spglib
from ase import Atoms
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Columns: primitive vectors in the basis of the conventional cell (International Tables A, table 1.5.1.1), det > 0.
CENTRING: dict[str, list[list[float]]] = {
    "P": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "A": [[1, 0, 0], [0, 0.5, -0.5], [0, 0.5, 0.5]],
    "B": [[0.5, 0, 0.5], [0, 1, 0], [-0.5, 0, 0.5]],
    "C": [[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]],
    "I": [[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]],
    "F": [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
    "R": [[2 / 3, -1 / 3, -1 / 3], [1 / 3, 1 / 3, -2 / 3], [1 / 3, 1 / 3, 1 / 3]],
}
_SYSTEM_BY_NUMBER = (
    (2, "triclinic"),
    (15, "monoclinic"),
    (74, "orthorhombic"),
    (142, "tetragonal"),
    (167, "trigonal"),
    (194, "hexagonal"),
    (230, "cubic"),
)
# spglib and the averages are quadratic in the number of atoms and useless for what is this large in practice.
_MAX_ATOMS = 2000


@dataclass(frozen=True)
class SpaceGroup:
    """A crystal's space group, acting on its idealised primitive cell.

    Attributes:
        number: international number, 1 to 230.
        international: Hermann-Mauguin symbol, e.g. ``"Fm-3m"``.
        hall_number: 1 to 530, the setting the operations were rebuilt from.
        point_group: e.g. ``"m-3m"``.
        crystal_system: ``"triclinic"`` to ``"cubic"``.
        symprec: A, the tolerance it was found with.
        primitive: idealised primitive cell (p atoms) in the orientation of the input.
        rotations: (G, 3, 3) Cartesian, orthogonal, one per coset of the translation group, identity first.
        fractional_rotations: (G, 3, 3) integer W in ``x' = W x + w`` (primitive basis).
        translations: (G, 3) w.
        permutations: (G, p) atom ``a`` is carried to atom ``permutations[g, a]``.
        lattice_shifts: (G, p, 3) integer t in ``W x_a + w = x_permuted + t``.
        atom_to_primitive: (N,) the primitive atom that each input atom repeats.
        idealisation_displacement: A, the farthest an atom was moved (strain of the cell not counted).
    """

    number: int
    international: str
    hall_number: int
    point_group: str
    crystal_system: str
    symprec: float
    primitive: Atoms
    rotations: FloatArray
    fractional_rotations: IntArray
    translations: FloatArray
    permutations: IntArray
    lattice_shifts: IntArray
    atom_to_primitive: IntArray
    idealisation_displacement: float

    @property
    def order(self) -> int:
        """Number of operations modulo lattice translations (= order of the point group)."""
        return len(self.rotations)

    @property
    def site_groups(self) -> NDArray[np.bool_]:
        """(G, p) which operations leave each atom of the primitive cell in place, modulo lattice translations."""
        return self.permutations == np.arange(self.permutations.shape[1])

    @property
    def is_representative(self) -> NDArray[np.bool_]:
        """(p,) whether an atom is the lowest-numbered of its orbit."""
        return self.permutations.min(axis=0) == np.arange(self.permutations.shape[1])

    @property
    def representatives(self) -> IntArray:
        """(r,) the lowest-numbered primitive atom of each orbit, ascending."""
        return np.flatnonzero(self.is_representative)

    @property
    def carrier(self) -> IntArray:
        """(p,) the operation that carries the representative of an atom's orbit onto the atom."""
        representative = self.permutations.min(axis=0)
        hits = self.permutations[:, representative] == np.arange(len(representative))[None, :]
        return np.argmax(hits, axis=0)


def analyse_space_group(atoms: Atoms, symprec: float = 1e-2) -> SpaceGroup:
    """Find the space group and idealise the structure within ``symprec``.

    Args:
        atoms: three-dimensionally periodic crystal, N atoms. Magnetic moments are ignored.
        symprec: A, spglib's distance tolerance.

    Returns:
        The group with its idealised primitive cell. Where spglib finds nothing, or its operations do not map the
        structure onto itself within a few ``symprec``, P1 of the input cell is returned with a warning.
    """
    if len(atoms) > _MAX_ATOMS:
        logger.info("%d atoms: symmetry is not searched above %d, treated as P1", len(atoms), _MAX_ATOMS)
        return _trivial_group(atoms, symprec)
    dataset = _dataset(atoms, symprec)
    if dataset is not None:
        # Averages over a group that spglib stretched too far can fail; a smaller tolerance finds a subgroup.
        for tolerance in (symprec, symprec / 10, symprec / 100):
            dataset = dataset if tolerance == symprec else _dataset(atoms, tolerance)
            group = None if dataset is None else _group_from_dataset(atoms, dataset, symprec, tolerance)
            if group is not None:
                return group
    warnings.warn(
        f"spglib found no space group for {atoms.get_chemical_formula()} at symprec={symprec} A; "
        "treated as P1. Check the structure for overlapping atoms or change symprec.",
        stacklevel=2,
    )
    return _trivial_group(atoms, symprec)


def _dataset(atoms: Atoms, symprec: float) -> "spglib.SpglibDataset | None":
    cell = (atoms.cell.array, atoms.get_scaled_positions(wrap=False), atoms.numbers)
    try:
        return spglib.get_symmetry_dataset(cell, symprec=symprec)
    except Exception as error:  # spglib announces exceptions of its own in place of None
        logger.debug("spglib: %s", error)
        return None


def _trivial_group(atoms: Atoms, symprec: float) -> SpaceGroup:
    count = len(atoms)
    primitive = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    return SpaceGroup(
        number=1,
        international="P1",
        hall_number=1,
        point_group="1",
        crystal_system="triclinic",
        symprec=symprec,
        primitive=primitive,
        rotations=np.eye(3)[None],
        fractional_rotations=np.eye(3, dtype=np.int64)[None],
        translations=np.zeros((1, 3)),
        permutations=np.arange(count)[None],
        lattice_shifts=np.zeros((1, count, 3), dtype=np.int64),
        atom_to_primitive=np.arange(count),
        idealisation_displacement=0.0,
    )


def _group_from_dataset(
    atoms: Atoms, dataset: "spglib.SpglibDataset", symprec: float, tolerance: float
) -> SpaceGroup | None:
    """The group rebuilt from the Hall number; None if its operations do not map the atoms onto themselves."""
    operations = _primitive_operations(int(dataset.hall_number), dataset.international[0])
    rotations, translations = operations.rotations, operations.translations
    # x_standard = P x + p (spglib), x_primitive = centring^-1 x_standard; lattices: the inverse transpose.
    to_primitive = operations.from_standard @ dataset.transformation_matrix
    lattice = np.linalg.inv(to_primitive).T @ atoms.cell.array
    scaled = atoms.get_scaled_positions(wrap=False) @ to_primitive.T
    scaled += operations.from_standard @ dataset.origin_shift

    lattice = _symmetrised_lattice(lattice, rotations)
    first, atom_to_primitive = np.unique(dataset.mapping_to_primitive, return_index=True, return_inverse=True)[1:]
    if len(first) * round(abs(atoms.cell.volume / np.linalg.det(lattice))) != len(atoms):
        return None
    translated = scaled - scaled[first][atom_to_primitive]
    translated -= np.round(translated)
    counts = np.bincount(atom_to_primitive)
    mean_shift = np.stack([np.bincount(atom_to_primitive, translated[:, k]) for k in range(3)], axis=1)
    original = scaled[first] + mean_shift / counts[:, None]
    numbers = atoms.numbers[first]

    mapped = _site_permutations(original, numbers, rotations, translations, lattice, limit=max(4 * tolerance, 1e-4))
    if mapped is None:
        return None
    permutations, shifts = mapped
    # Position of atom a averaged over all g: g^-1 applied to where g should have carried it.
    target = original[permutations] + shifts - translations[:, None, :]
    positions = (target @ operations.inverse_rotations.swapaxes(1, 2)).mean(axis=0)
    moved = np.linalg.norm((positions - original) @ lattice, axis=1).max()

    cartesian = lattice.T @ rotations @ np.linalg.inv(lattice).T
    return SpaceGroup(
        number=int(dataset.number),
        international=dataset.international,
        hall_number=int(dataset.hall_number),
        point_group=dataset.pointgroup.strip(),
        crystal_system=next(name for last, name in _SYSTEM_BY_NUMBER if dataset.number <= last),
        symprec=symprec,
        primitive=Atoms(numbers=numbers, scaled_positions=positions, cell=lattice, pbc=True),
        rotations=cartesian,
        fractional_rotations=rotations,
        translations=translations,
        permutations=permutations,
        lattice_shifts=shifts,
        atom_to_primitive=atom_to_primitive.astype(np.int64),
        idealisation_displacement=float(moved),
    )


@dataclass(frozen=True)
class _Operations:
    """Operations of a Hall setting in the primitive basis, one per rotation, identity first; read-only arrays.

    ``rotations`` (G, 3, 3), their inverses, ``translations`` (G, 3), ``from_standard`` (3, 3): basis of the
    conventional cell -> primitive basis.
    """

    rotations: IntArray
    inverse_rotations: IntArray
    translations: FloatArray
    from_standard: FloatArray


@functools.lru_cache(maxsize=530)
def _primitive_operations(hall_number: int, centring_symbol: str) -> _Operations:
    """See ``_Operations``; ``centring_symbol`` is the first letter of the Hermann-Mauguin symbol."""
    database = spglib.get_symmetry_from_database(hall_number)
    if database is None:
        raise ValueError(f"spglib has no Hall number {hall_number}; valid ones are 1 to 530")
    centring = np.array(CENTRING[centring_symbol])
    inverse = np.linalg.inv(centring)
    rotations = np.round(inverse @ database["rotations"] @ centring).astype(np.int64)
    translations = database["translations"] @ inverse.T
    first: IntArray = np.sort(np.unique(rotations.reshape(-1, 9), axis=0, return_index=True)[1])
    is_identity = (rotations[first] == np.eye(3, dtype=np.int64)).all(axis=(1, 2))
    first = np.concatenate([first[is_identity], first[~is_identity]])
    # The database rounds thirds and sixths to six digits or so: restore them.
    exact = np.round(translations[first] * 24) / 24
    translations = np.where(np.abs(exact - translations[first]) < 1e-4, exact, translations[first])
    translations[0] = 0.0
    rotations = rotations[first]
    result = _Operations(rotations, np.round(np.linalg.inv(rotations)).astype(np.int64), translations, inverse)
    for array in vars(result).values():
        array.flags.writeable = False  # shared by all crystals of this setting
    return result


def _symmetrised_lattice(lattice: FloatArray, rotations: IntArray) -> FloatArray:
    """The lattice (rows) with the group-averaged metric, strained without rotation from the given one."""
    metric = lattice @ lattice.T
    mean_metric = (rotations.swapaxes(1, 2) @ metric @ rotations).mean(axis=0)
    inverse = np.linalg.inv(lattice)
    squares, axes = np.linalg.eigh(inverse @ mean_metric @ inverse.T)
    return lattice @ (axes * np.sqrt(squares)) @ axes.T


#: Distances between images and atoms that are held at once (G x p x p of them, 24 bytes each and as much again).
_TABLE_SIZE = 400_000


def _site_permutations(
    positions: FloatArray,
    numbers: IntArray,
    rotations: IntArray,
    translations: FloatArray,
    lattice: FloatArray,
    limit: float,
) -> tuple[IntArray, IntArray] | None:
    """(G, p) permutations and (G, p, 3) lattice shifts; None if an image misses every atom by more than ``limit`` A."""
    images = positions @ rotations.swapaxes(1, 2) + translations[:, None, :]
    order, count = images.shape[:2]
    permutations = np.empty((order, count), dtype=np.int64)
    shifts = np.empty((order, count, 3), dtype=np.int64)
    other_species = numbers[:, None] != numbers[None, :]
    step = max(1, _TABLE_SIZE // count**2)
    for start in range(0, order, step):
        chosen = slice(start, start + step)
        difference = images[chosen, :, None, :] - positions
        whole = np.rint(difference)
        apart = (difference - whole).reshape(-1, 3) @ lattice
        squared = np.einsum("kx,kx->k", apart, apart).reshape(-1, count, count)
        squared[:, other_species] = np.inf
        nearest = squared.argmin(axis=2)
        closest = np.take_along_axis(squared, nearest[:, :, None], axis=2)
        if closest.max() > limit**2 or (np.sort(nearest, axis=1) != np.arange(count)).any():
            return None
        permutations[chosen] = nearest
        shifts[chosen] = np.take_along_axis(whole, nearest[:, :, None, None], axis=2)[:, :, 0]
    return permutations, shifts


@dataclass(frozen=True)
class EdgeOrbits:
    """Orbits of directed edges whose receiver represents its atom orbit, under the receiver's site group.

    Attributes:
        representative: (O,) index of one edge of each orbit in the edge list that was passed in.
        size: (O,) number of edges in the orbit.
    """

    representative: IntArray
    size: IntArray


def edge_orbits(group: SpaceGroup, receiver: IntArray, sender: IntArray, image: IntArray) -> EdgeOrbits:
    """Group directed edges into orbits of the site-symmetry groups of their receivers (DESIGN.md section 6).

    Args:
        group: the space group.
        receiver: (E,) primitive atoms; edges whose receiver is no representative are left out of the result.
        sender: (E,) primitive atoms.
        image: (E, 3) integer cell of the sender, the receiver being in cell 0.

    Returns:
        One representative per orbit and the orbit sizes. Integer arithmetic only, hence exact.
    """
    site_groups = group.site_groups
    kept = np.flatnonzero(group.is_representative[receiver])
    receiver, sender, image = receiver[kept], sender[kept], image[kept]
    # Operation g carries (i, 0) -> (j, n) to (g i, t_i) -> (g j, W n + t_j), t being its lattice shifts. Only the
    # operations of the receiver's site group are needed: one row per edge and operation.
    which = np.flatnonzero(site_groups[:, receiver].T)
    edge, operation = np.divmod(which, group.order)
    carried_image = np.einsum("kxy,ky->kx", group.fractional_rotations[operation], image[edge])
    carried_image += group.lattice_shifts[operation, sender[edge]] - group.lattice_shifts[operation, receiver[edge]]
    span = int(np.abs(carried_image).max(initial=0)) * 2 + 1
    digits = carried_image + span // 2
    carried_sender = group.permutations[operation, sender[edge]]
    code = ((carried_sender * span + digits[:, 0]) * span + digits[:, 1]) * span + digits[:, 2]
    # The first operation of every edge is the identity. An edge represents its orbit if no operation makes its code
    # smaller; the orbit has as many members as the site group has cosets of what leaves the edge in place.
    first = np.flatnonzero(operation == 0)
    own = code[first]
    representative = np.flatnonzero(np.minimum.reduceat(code, first) == own) if len(first) else first
    fixing = np.add.reduceat((code == own[edge]).astype(np.int64), first) if len(first) else first
    size = site_groups.sum(axis=0)[receiver[representative]] // fixing[representative]
    return EdgeOrbits(representative=kept[representative], size=size)
