"""Tables of matminer: dielectric, piezoelectric and elastic tensors, formation energies (PBE, Materials Project).

Reads the CSV files of matminer up to 0.3.9 (``matminer/datasets/*.csv``) and the JSON files of later versions
(``dielectric_constant.json.gz`` and so on, from figshare).  matminer: L. Ward et al., Comput. Mater. Sci. 152, 60
(2018).  Each function names the article of its table.
"""

import ast
import csv
import io
import itertools
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from ase_comformer import tensors
from ase_comformer.crystals.point_groups import point_group_of
from ase_comformer.crystals.space_group import SpaceGroup
from ase_comformer.physics import moduli
from ase_comformer.training.data.sources.common import (
    Row,
    atoms_from_dict,
    collect,
    open_text,
    raised_flags,
    space_group_fields,
    structure_fields,
    symmetry_residual,
    tensor_field,
)

logger = logging.getLogger(__name__)

# A tensor that misses the symmetry of its crystal by more than this is in another frame, or wrong.
_RESIDUAL_LIMIT = 0.05
_NEGLIGIBLE_PIEZO = 0.02


def _table(path: str | Path) -> Iterator[dict[str, Any]]:
    """Entries of a matminer CSV or JSON (pandas 'split' orientation) table."""
    with open_text(path) as file:
        if ".json" in Path(path).name:
            table = json.load(file)
            for values in table["data"]:
                yield dict(zip(table["columns"], values, strict=True))
            return
        # The reference is a comment above the header; "#" also starts lines inside quoted CIF texts below it.
        lines = itertools.dropwhile(lambda line: line.startswith("#"), file)
        limit = csv.field_size_limit(2**31 - 1)
        try:
            reader = csv.reader(lines)
            header = next(reader)
            for values in reader:
                # pandas wrote some tables with an index column that has no title.
                yield dict(zip(header, values[len(values) - len(header) :], strict=True))
        finally:
            csv.field_size_limit(limit)


def _value(entry: dict[str, Any], column: str) -> Any:
    """Column of an entry, with the Python or JSON literals of the CSV files evaluated."""
    if column not in entry:
        raise ValueError(f"column {column!r} is missing; the table has {', '.join(sorted(entry))}")
    value = entry[column]
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value


def _optional_number(entry: dict[str, Any], column: str) -> float | None:
    value = entry.get(column)
    if value in (None, ""):
        return None
    number = float(value)
    return number if np.isfinite(number) else None


def _space_group_number(entry: dict[str, Any], fields: Row) -> int:
    """The source's space group, spglib's where it gives none."""
    return int(float(entry["space_group"])) if entry.get("space_group") else int(fields["spg"])


def _misses_symmetry(residual: float, table: str, identifier: str) -> bool:
    if residual >= _RESIDUAL_LIMIT:
        logger.info("matminer %s: %s left out, residual %.2f", table, identifier, residual)
    return residual >= _RESIDUAL_LIMIT


def _structure(entry: dict[str, Any]) -> Atoms:
    """Crystal in the Cartesian frame of the calculation: a POSCAR or a lattice matrix, never a CIF."""
    if entry.get("poscar"):
        atoms = ase.io.read(io.StringIO(entry["poscar"]), format="vasp")
        assert isinstance(atoms, Atoms)
        return atoms
    structure = _value(entry, "structure")
    if isinstance(structure, dict):
        return atoms_from_dict(structure)
    raise ValueError("no POSCAR and no lattice matrix: a CIF has no Cartesian frame, so its tensors mean nothing")


def matminer_dielectric_rows(path: str | Path, *, symprec: float = 1e-2, keep_withheld: bool = False) -> list[Row]:
    """Rows of the data set 'dielectric_mp' from matminer's ``dielectric_constant`` table.

    I. Petousis et al., Sci. Data 4, 160134 (2017).  Labels ``e_electronic`` and ``e_total`` (3x3, relative, PBE,
    total = electronic + ionic), symmetrised as (T + T^T)/2.  Entries that miss their point group by 5 % or more are
    left out.  Flags: 'e_electronic_large' (eigenvalue > 30), 'ionic_large' (eigenvalue > 200),
    'ionic_part_negative', 'n_inconsistent' (n against the trace).

    Args:
        path: CSV or JSON table, possibly gzip-compressed.
        symprec: A, tolerance of the space group.
        keep_withheld: also return the formulas that the split rule withholds.
    """

    def convert(entry: dict[str, Any]) -> Row | None:
        identifier = str(entry.get("material_id"))
        atoms = _structure(entry)
        electronic, total = (
            tensor_field(_value(entry, column), (3, 3), column, identifier) for column in ("e_electronic", "e_total")
        )
        electronic, total = (electronic + electronic.T) / 2, (total + total.T) / 2
        group, fields = space_group_fields(atoms, symprec)
        residual = max(symmetry_residual(t, group.rotations, "dielectric_tensor") for t in (electronic, total))
        if _misses_symmetry(residual, "dielectric", identifier):
            return None
        index = float(entry["n"])
        ionic = np.linalg.eigvalsh(total - electronic)
        flags = {
            "e_electronic_large": np.linalg.eigvalsh(electronic)[-1] > 30,
            "ionic_large": ionic[-1] > 200,
            "ionic_part_negative": ionic[0] < -0.01,
            "n_inconsistent": abs(index - np.sqrt(np.trace(electronic) / 3)) > 0.05,
        }
        spg = _space_group_number(entry, fields)
        return {
            "dataset": "dielectric_mp",
            "id": identifier,
            **structure_fields(atoms),
            "spg": spg,
            "spg_spglib": fields["spg"],
            "pointgroup": point_group_of(spg),
            "e_electronic": np.round(electronic, 6).tolist(),
            "e_total": np.round(total, 6).tolist(),
            "n": index,
            "gap": _optional_number(entry, "band_gap"),
            "pot_ferroelectric": str(entry.get("pot_ferroelectric")).lower() == "true",
            "residual": round(residual, 5),
            "flags": raised_flags(flags),
        }

    return collect(_table(path), convert, "matminer dielectric_constant", keep_withheld=keep_withheld)


def matminer_elastic_rows(path: str | Path, *, symprec: float = 1e-2, keep_withheld: bool = False) -> list[Row]:
    """Rows of the data set 'elastic_mp' from matminer's ``elastic_tensor`` table.

    M. de Jong et al., Sci. Data 2, 150009 (2015).  Label ``C`` (6x6 Voigt, GPa, PBE) is ``elastic_tensor_original``,
    the tensor in the frame of the stored cell; ``elastic_tensor`` (IEEE frame) is kept as ``C_ieee``.  Moduli
    (GPa) are derived from ``C``.  Entries that miss their point group by 5 % or more are left out.  Flags:
    'not_positive_definite', 'nearly_unstable' (lowest eigenvalue < 1 GPa), 'very_large' (component > 1000 GPa),
    'spg_differs'.

    Args:
        path: CSV or JSON table, possibly gzip-compressed.
        symprec: A, tolerance of the space group.
        keep_withheld: also return the formulas that the split rule withholds.
    """

    def convert(entry: dict[str, Any]) -> Row | None:
        identifier = str(entry.get("material_id"))
        atoms = _structure(entry)
        stiffness = tensor_field(
            _value(entry, "elastic_tensor_original"), (6, 6), "elastic_tensor_original", identifier
        )
        ieee = tensor_field(_value(entry, "elastic_tensor"), (6, 6), "elastic_tensor", identifier)
        stiffness = (stiffness + stiffness.T) / 2
        group, fields = space_group_fields(atoms, symprec)
        residual = symmetry_residual(stiffness, group.rotations, "elastic_tensor")
        if _misses_symmetry(residual, "elastic", identifier):
            return None
        lowest = np.linalg.eigvalsh(tensors.voigt_to_mandel(stiffness, "stiffness"))[0]
        average = moduli.voigt_reuss_hill(stiffness)
        spg = _space_group_number(entry, fields)
        flags = {
            "not_positive_definite": lowest <= 0,
            "nearly_unstable": 0 < lowest < 1,
            "very_large": np.abs(stiffness).max() > 1000,
            "spg_differs": spg != fields["spg"],
        }
        return {
            "dataset": "elastic_mp",
            "id": identifier,
            **structure_fields(atoms),
            "spg": spg,
            "C": np.round(stiffness, 4).tolist(),
            "C_ieee": np.round(ieee, 4).tolist(),
            "K_voigt": round(float(average.bulk_voigt), 3),
            "G_voigt": round(float(average.shear_voigt), 3),
            "K_reuss": round(float(average.bulk_reuss), 3),
            "G_reuss": round(float(average.shear_reuss), 3),
            "K_vrh": round(float(average.bulk), 3),
            "G_vrh": round(float(average.shear), 3),
            "residual": round(residual, 5),
            "flags": raised_flags(flags),
        }

    return collect(_table(path), convert, "matminer elastic_tensor", keep_withheld=keep_withheld)


def _axis_changes() -> np.ndarray:
    """(48, 3, 3) proper rotations between usual axis choices: of the cube, then with 30 degrees about z first."""
    cube = []
    for permutation in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[np.arange(3), permutation] = signs
            if np.linalg.det(matrix) > 0:
                cube.append(matrix)
    # The identity first: the published frame is most often that of the conventional standard cell.
    cube.sort(key=lambda matrix: -np.trace(matrix))
    cosine, sine = np.sqrt(3) / 2, 0.5
    turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return np.array(cube + [matrix @ turn for matrix in cube])


def _invariant_readings(published: np.ndarray, group: SpaceGroup) -> list[tuple[np.ndarray, float]]:
    """Distinct readings (3,6) of a published tensor that fit a point group, each averaged over it, with residuals."""
    readings: list[tuple[np.ndarray, float]] = []
    size = max(float(np.linalg.norm(tensors.to_cartesian(published, "piezoelectric_tensor"))), 1e-12)
    changes, rotations = _axis_changes(), group.rotations
    if group.crystal_system == "monoclinic":
        # The IEEE axes follow c instead of a: no permutation of the conventional axes.
        ieee = tensors.ieee_axes(group.primitive, group.symprec).rotation.T
        changes = np.concatenate([changes, ieee @ changes])
    if np.linalg.det(rotations).min() > 0:
        # The conventional cell of a chiral crystal can be the mirror image of the source's.
        changes = np.concatenate([changes, -changes])
    for change in changes:
        turned = tensors.rotate(published, change, "piezoelectric_tensor")
        residual = symmetry_residual(turned, rotations, "piezoelectric_tensor")
        if residual >= _RESIDUAL_LIMIT:
            continue
        copies = np.broadcast_to(turned, (len(rotations), 3, 6))
        mean = tensors.rotate(copies, rotations, "piezoelectric_tensor").mean(axis=0)
        if all(np.abs(mean - other).max() > 0.01 * size for other, _ in readings):
            readings.append((mean, residual))
    return readings


def matminer_piezoelectric_rows(path: str | Path, *, symprec: float = 1e-2, keep_withheld: bool = False) -> list[Row]:
    """Rows of the data set 'piezo_mp' from matminer's ``piezoelectric_tensor`` table.

    M. de Jong et al., Sci. Data 2, 150053 (2015).  The table gives tensors in an IEEE-like axis system and
    structures in another one; the rotation between them is not recorded.  The cell is turned into the frame of
    pymatgen's conventional standard cell, and every reading of the published tensor under a change of axes that
    fits the point group is kept: ``e`` is the first (3x6 Voigt, C/m^2, averaged over the point group),
    ``alternatives`` the others (both signs for chiral classes).  Train on the minimum over them, or on ``e_norm``.

    Every row is ``ambiguous`` unless all components are below 0.02 C/m^2.  The data package resolves more of
    them with Born charges and force constants.  Triclinic crystals, where any frame fits, and entries that fit
    in no frame are left out.  Flags: 'negligible', 'very_large' (> 10 C/m^2), 'spg_differs'.

    Args:
        path: CSV or JSON table, possibly gzip-compressed.
        symprec: A, tolerance of the space group.
        keep_withheld: also return the formulas that the split rule withholds.
    """
    from pymatgen.io.ase import AseAtomsAdaptor
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    def convert(entry: dict[str, Any]) -> Row | None:
        identifier = str(entry.get("material_id"))
        source = _structure(entry)
        published = tensor_field(_value(entry, "piezoelectric_tensor"), (3, 6), "piezoelectric_tensor", identifier)
        analyzer = SpacegroupAnalyzer(AseAtomsAdaptor.get_structure(source), symprec=symprec)
        conventional = AseAtomsAdaptor.get_atoms(analyzer.get_conventional_standard_structure(), msonable=False)
        group, fields = space_group_fields(conventional, symprec)
        if fields["spg"] <= 2:
            logger.info("matminer piezoelectric: %s left out, triclinic", identifier)
            return None
        readings = _invariant_readings(published, group)
        if not readings:
            logger.info("matminer piezoelectric: %s left out, fits in no frame", identifier)
            return None
        (tensor, residual), others = readings[0], readings[1:]
        largest = float(np.abs(tensor).max())
        negligible = largest < _NEGLIGIBLE_PIEZO
        spg = _space_group_number(entry, fields)
        flags = {"negligible": negligible, "very_large": largest > 10, "spg_differs": spg != fields["spg"]}
        return {
            "dataset": "piezo_mp",
            "id": identifier,
            **structure_fields(group.primitive),
            "spg": spg,
            "pointgroup": fields["pointgroup"],
            "e": np.round(tensor, 5).tolist(),
            "e_as_published": published.tolist(),
            "e_norm": round(float(np.linalg.norm(tensors.to_cartesian(tensor, "piezoelectric_tensor"))), 5),
            "e_max_longitudinal": _optional_number(entry, "eij_max"),
            "ambiguous": not negligible,
            "resolved_by": "negligible" if negligible else None,
            "alternatives": [np.round(other, 5).tolist() for other, _ in others],
            "published_frame": None,
            "ionic_cos": None,
            "residual": round(residual, 5),
            "flags": raised_flags(flags),
        }

    return collect(_table(path), convert, "matminer piezoelectric_tensor", keep_withheld=keep_withheld)


def matminer_formation_energy_rows(path: str | Path, *, keep_withheld: bool = False) -> list[Row]:
    """Rows of the data set 'formation_energy' from matminer's ``flla`` table (``flla_2015.csv``).

    F. Faber et al., Int. J. Quantum Chem. 115, 1094 (2015).  Labels ``e_form`` and ``e_above_hull`` (eV/atom, PBE,
    Materials Project).  Flags: 'strongly_positive' (> 1 eV/atom), 'outlier' (magnitude > 6 eV/atom).

    Args:
        path: CSV or JSON table, possibly gzip-compressed.
        keep_withheld: also return the formulas that the split rule withholds.
    """

    def convert(entry: dict[str, Any]) -> Row | None:
        energy = _optional_number(entry, "formation_energy_per_atom")
        if energy is None:
            return None
        flags = {"strongly_positive": energy > 1, "outlier": abs(energy) > 6}
        hull = _optional_number(entry, "e_above_hull")
        return {
            "dataset": "formation_energy",
            "id": str(entry.get("material_id")),
            "source": "matminer_flla_2015",
            "structure_functional": "PBE",
            **structure_fields(_structure(entry)),
            "e_form": round(energy, 6),
            "e_above_hull": None if hull is None else round(hull, 6),
            "gap": None,
            "flags": raised_flags(flags),
        }

    return collect(_table(path), convert, "matminer flla", keep_withheld=keep_withheld)
