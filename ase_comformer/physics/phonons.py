"""Phonons of a crystal, from a ``Phonopy`` object that has force constants: what is usually asked of it, with units.

phonopy does the sums (A. Togo, J. Phys. Soc. Jpn. 92, 012001 (2023)), seekpath the path through the Brillouin zone (Y.
Hinuma et al., Comput. Mater. Sci. 128, 140 (2017)). Frequencies are in THz, imaginary ones negative; wave vectors are
in units of the reciprocal vectors of ``primitive`` unless said otherwise.

Index letters: p atoms of the primitive cell, m wave vectors, 3p modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.physics.band_path import BandPath, band_path
from ase_comformer.physics.phonopy_bridge import write_phonopy_files

if TYPE_CHECKING:
    from phonopy import Phonopy

FloatArray = NDArray[np.float64]

#: THz, below minus which a mode counts as imaginary; smaller ones are numerical noise of the acoustic branches.
IMAGINARY = 0.05
#: THz, below which a mode is left out of thermal properties and Grueneisen parameters: the three translations.
STILL = 1e-3
#: m/s per THz A.
_SPEED = 100.0


@dataclass(frozen=True)
class ImaginaryMode:
    """A mode along which the crystal lowers its energy.

    Attributes:
        q: (3,) wave vector that the supercell holds, reduced.
        frequency: THz, negative.
        eigenvector: (p, 3) complex, of the dynamical matrix, of norm 1; divide by the square root of the masses for
            displacements.
    """

    q: FloatArray
    frequency: float
    eigenvector: NDArray[np.complex128]


@dataclass(frozen=True)
class Bands:
    """Frequencies along a path, in unbroken pieces.

    Attributes:
        path: the path.
        frequencies: (m, 3p) THz of each piece, ascending; at Gamma the limit along the piece.
    """

    path: BandPath
    frequencies: tuple[FloatArray, ...]

    @property
    def highest(self) -> float:
        """THz."""
        return float(max(values.max() for values in self.frequencies))

    @property
    def lowest(self) -> float:
        """THz, negative where a mode is imaginary."""
        return float(min(values.min() for values in self.frequencies))


@dataclass(frozen=True)
class DensityOfStates:
    """Modes per THz and primitive cell.

    Attributes:
        frequencies: (k,) THz.
        total: (k,) 1/THz; its integral is 3p.
        by_element: symbol -> (k,) 1/THz, or None where it was not asked for.
    """

    frequencies: FloatArray
    total: FloatArray
    by_element: dict[str, FloatArray] | None = None


@dataclass(frozen=True)
class ThermalProperties:
    """Harmonic thermal properties per mole of primitive cells, imaginary modes and the translations left out.

    Attributes:
        temperatures: (k,) K.
        free_energy: (k,) kJ/mol, zero-point energy included.
        entropy: (k,) J/(mol K).
        heat_capacity: (k,) J/(mol K) at constant volume.
    """

    temperatures: FloatArray
    free_energy: FloatArray
    entropy: FloatArray
    heat_capacity: FloatArray


@dataclass(frozen=True)
class Phonons:
    """Harmonic phonons of a crystal at rest.

    Attributes:
        phonopy: the ``Phonopy`` object with force constants, and the non-analytic term where there is one.
        group: space group, with the idealised primitive cell (p atoms) in the orientation of the input, phonopy's too.
        supercell: (3, 3) integers, rows times the primitive cell are the vectors of the supercell.
        born_effective_charges: (p, 3, 3) e, [atom, field, displacement], or None without non-analytic term.
        dielectric_tensor: (3, 3) electronic, or None.
        stress: (6,) GPa at rest, Voigt, ASE's sign.
        imaginary_modes: the most unstable first, see :func:`imaginary_modes`; empty for a stable crystal.
        status: "ok", or what limits the numbers, one sentence each.
        strained: phonopy objects of the crystal at smaller and larger volume, for :meth:`gruneisen`, or None.
    """

    phonopy: Phonopy
    group: SpaceGroup
    supercell: NDArray[np.int64]
    born_effective_charges: FloatArray | None
    dielectric_tensor: FloatArray | None
    stress: FloatArray
    imaginary_modes: tuple[ImaginaryMode, ...]
    status: tuple[str, ...]
    strained: tuple[Phonopy, Phonopy] | None = None

    @property
    def primitive(self) -> Atoms:
        """Primitive cell (p atoms)."""
        return self.group.primitive

    @property
    def space_group(self) -> str:
        """International symbol."""
        return self.group.international

    @property
    def has_non_analytic_term(self) -> bool:
        """Whether longitudinal and transverse optical modes split at Gamma."""
        return self.born_effective_charges is not None

    def frequencies(self, q: ArrayLike, direction: ArrayLike | None = None) -> FloatArray:
        """Frequencies at wave vectors.

        Args:
            q: (m, 3) or (3,), reduced.
            direction: (3,) Cartesian; where q is zero, the limit along it. Without it Gamma has no LO-TO splitting.

        Returns:
            (m, 3p) or (3p,) THz, ascending.
        """
        points = np.atleast_2d(np.asarray(q, dtype=np.float64))
        reduced = None if direction is None else self.primitive.cell.array @ np.asarray(direction, dtype=np.float64)
        frequencies = at_wave_vectors(self.phonopy, points, nac_q_direction=reduced)["frequencies"]
        return frequencies if np.ndim(q) == 2 else frequencies[0]

    def group_velocities(self, q: ArrayLike) -> FloatArray:
        """Group velocities (m, 3p, 3) in m/s at wave vectors (m, 3), in the order of the frequencies."""
        return _SPEED * at_wave_vectors(self.phonopy, np.atleast_2d(q), with_group_velocities=True)["group_velocities"]

    def bands(self, spacing: float = 0.025, path: BandPath | None = None) -> Bands:
        """Frequencies along seekpath's path, with LO-TO splitting along every direction into Gamma.

        Args:
            spacing: 1/A (2 pi included) between wave vectors.
            path: another path than seekpath's.

        Raises:
            ImportError: seekpath is not installed (``pip install seekpath``) and no path is given.
        """
        path = band_path(self.primitive, spacing) if path is None else path
        return Bands(path, tuple(self._along(piece) for piece in path.q))

    def _along(self, q: FloatArray) -> FloatArray:
        # into Gamma along the piece, whichever end it is at
        return at_wave_vectors(self.phonopy, q, nac_q_direction=q[-1] - q[0])["frequencies"]

    def density_of_states(self, mesh: float | Sequence[int] = 60.0, by_element: bool = False) -> DensityOfStates:
        """Density of states by the tetrahedron method.

        Args:
            mesh: points along each reciprocal vector, or a length in A that stands for them: a vector b gets
                ``mesh * |b| / 2 pi`` points.
            by_element: divide it among the elements, by their share in the eigenvectors.
        """
        phonon = self.phonopy
        phonon.run_mesh(
            self._mesh(mesh), is_gamma_center=True, with_eigenvectors=by_element, is_mesh_symmetry=not by_element
        )
        phonon.run_total_dos()
        found: Any = phonon.total_dos
        grid, total = np.array(found.frequency_points), np.array(found.dos)
        if not by_element:
            return DensityOfStates(grid, total)
        phonon.run_projected_dos()
        shares: Any = phonon.projected_dos
        parts = np.array(shares.projected_dos)
        symbols = np.array(self.primitive.get_chemical_symbols())
        by = {symbol: parts[symbols == symbol].sum(axis=0) for symbol in dict.fromkeys(symbols.tolist())}
        return DensityOfStates(grid, total, by)

    def thermal_properties(
        self, temperatures: ArrayLike = tuple(range(0, 1001, 10)), mesh: float | Sequence[int] = 60.0
    ) -> ThermalProperties:
        """Harmonic free energy, entropy and heat capacity.

        Args:
            temperatures: (k,) K.
            mesh: as in :meth:`density_of_states`.
        """
        phonon = self.phonopy
        phonon.run_mesh(self._mesh(mesh), is_gamma_center=True)
        wanted = np.asarray(temperatures, dtype=np.float64)
        phonon.run_thermal_properties(temperatures=wanted, cutoff_frequency=STILL)
        found: Any = phonon.thermal_properties
        return ThermalProperties(*(np.array(part) for part in found.thermal_properties))

    def _mesh(self, mesh: float | Sequence[int]) -> list[int]:
        if not isinstance(mesh, int | float):
            return [int(number) for number in mesh]
        lengths = np.linalg.norm(np.linalg.inv(self.primitive.cell.array), axis=0)
        return [max(1, round(mesh * length)) for length in lengths]

    def gruneisen(self, q: ArrayLike) -> FloatArray:
        """Mode Grueneisen parameters -d ln(frequency) / d ln(volume) at wave vectors.

        First-order perturbation theory on the difference of the dynamical matrices at two volumes, in the subspaces of
        degenerate modes (W. Frank et al., Phys. Rev. Lett. 74, 1791 (1995)).

        Args:
            q: (m, 3) reduced.

        Returns:
            (m, 3p) in the order of the frequencies, NaN for translations.

        Raises:
            ValueError: phonons were made without ``gruneisen=True``.
        """
        if self.strained is None:
            raise ValueError("no phonons at other volumes are there: make them with phonons(..., gruneisen=True)")
        points = np.atleast_2d(np.asarray(q, dtype=np.float64))
        smaller, larger = self.strained
        strain = np.log(larger.primitive.volume / smaller.primitive.volume)
        matrices = [
            at_wave_vectors(each, points, with_dynamical_matrices=True)["dynamical_matrices"]
            for each in (self.phonopy, smaller, larger)
        ]
        return np.array([_gruneisen(*each, strain=strain) for each in zip(*matrices, strict=True)])

    def write(self, folder: str | Path) -> list[Path]:
        """Write ``phonopy_params.yaml``, ``FORCE_SETS`` and ``BORN``, which ``phonopy-load`` reads.

        Returns:
            The files written; ``BORN`` only with a non-analytic term.
        """
        return write_phonopy_files(self.phonopy, folder)


def at_wave_vectors(phonon: Phonopy, q: FloatArray, **asked: Any) -> dict[str, NDArray[Any]]:
    """Let phonopy solve for the modes at wave vectors.

    Args:
        phonon: with force constants.
        q: (m, 3) reduced.
        asked: of ``Phonopy.run_qpoints``, such as ``with_eigenvectors=True``.

    Returns:
        ``frequencies`` (m, 3p) THz, and what else was asked for by name, as phonopy has it.
    """
    phonon.run_qpoints(q, **asked)
    found: Any = phonon.qpoints
    parts = ("frequencies", "eigenvectors", "group_velocities", "dynamical_matrices")
    values = {name: getattr(found, name) for name in parts if name == "frequencies" or f"with_{name}" in asked}
    return {name: np.array(value) for name, value in values.items()}


def imaginary_modes(phonon: Phonopy, supercell: NDArray[np.int64]) -> tuple[ImaginaryMode, ...]:
    """Modes below ``-IMAGINARY`` at the wave vectors that the supercell holds, the most unstable first.

    There is no interpolation at these points, so the modes are those of the potential. Of q and -q one is listed; at
    Gamma without macroscopic field.

    Args:
        phonon: with force constants.
        supercell: (3, 3) integers, as ``Phonons.supercell``.
    """
    points = commensurate_points(supercell)
    unstable = (at_wave_vectors(phonon, points)["frequencies"] < -IMAGINARY).any(axis=1)
    if not unstable.any():
        return ()
    points = points[unstable]
    found = at_wave_vectors(phonon, points, with_eigenvectors=True)
    frequencies, vectors = found["frequencies"], found["eigenvectors"]
    modes = [
        ImaginaryMode(points[k], float(frequencies[k, mode]), vectors[k, :, mode].reshape(-1, 3))
        for k, mode in np.argwhere(frequencies < -IMAGINARY)
    ]
    return tuple(sorted(modes, key=lambda mode: mode.frequency))


def commensurate_points(supercell: NDArray[np.int64]) -> FloatArray:
    """Wave vectors (m, 3) that a supercell (3, 3) holds, reduced, Gamma first, one of each pair q and -q.

    Example:
        >>> import numpy as np
        >>> commensurate_points(np.diag([2, 1, 1])).tolist()
        [[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]]
    """
    from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

    matrix = np.asarray(supercell)
    size = round(abs(np.linalg.det(matrix)))
    steps = np.rint(size * get_commensurate_points(matrix.T)).astype(np.int64) % size
    kept = sorted(step for step in map(tuple, steps.tolist()) if step <= tuple((-k) % size for k in step))
    points = np.array(kept, dtype=np.float64) / size
    return np.asarray(points - np.rint(points - 1e-9))


def _gruneisen(
    matrix: NDArray[np.complex128], smaller: NDArray[np.complex128], larger: NDArray[np.complex128], *, strain: float
) -> FloatArray:
    """-d ln(frequency) / d ln(volume) of the modes of one dynamical matrix."""
    values, vectors = np.linalg.eigh(matrix)
    change = (larger - smaller) / strain
    slopes = np.empty(len(values))
    scale = max(float(np.abs(values).max()), 1e-12)
    start = 0
    while start < len(values):
        stop = start + int((np.abs(values[start:] - values[start]) < 1e-6 * scale).sum())
        subspace = vectors[:, start:stop]
        slopes[start:stop] = np.linalg.eigvalsh(subspace.conj().T @ change @ subspace)
        start = stop
    still = np.abs(values) < 1e-8 * scale
    return np.where(still, np.nan, -slopes / (2 * np.where(still, 1.0, values)))
