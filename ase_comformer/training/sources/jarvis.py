"""JARVIS-DFT tensors as curated for GMTNet (``jarvis_diele_piezo``, ``jarvis_elastic``): JSON records.

K. Choudhary et al., npj Comput. Mater. 6, 64 (2020) (dielectric, piezoelectric) and Phys. Rev. B 98, 014107 (2018)
(elastic), functional OptB88vdW; selection: Yan et al., arXiv:2406.12888: 4,713 dielectric, 4,998 piezoelectric and
14,220 elastic tensors, split 80/10/10.  The paper gives counts, not thresholds: ``max_component=100`` is what leaves
4,998 of the 5,000 piezoelectric records; elsewhere it is this package's assumption.  The published files are pickles,
which run code when opened: convert them to JSON in an environment you trust.
"""

import itertools
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ase_comformer import tensors
from ase_comformer.errors import UnknownNameError
from ase_comformer.training import data
from ase_comformer.training.sources.common import (
    Row,
    atoms_from_dict,
    collect,
    open_text,
    structure_fields,
    tensor_field,
)

logger = logging.getLogger(__name__)

_IDENTIFIERS = ("JARVIS_ID", "jid", "id", "material_id")
_STRUCTURES = ("atoms", "structure", "p_input")
FUNCTIONAL = "OptB88vdW"


def gmtnet_split(identifiers: Sequence[str], seed: int = 0) -> dict[str, data.Split]:
    """Random 80/10/10 split by record, with the proportions of GMTNet (arXiv:2406.12888).

    It depends on the set of identifiers only, not on their order.  It is not the authors' list of indices, and
    unlike the split by formula it puts polymorphs of one formula on both sides.

    Args:
        identifiers: unique record identifiers.
        seed: another seed gives another split.

    Returns:
        'train', 'val' or 'test' for each identifier.

    Raises:
        ValueError: if an identifier is repeated.
    """
    names = sorted(identifiers)
    if len(set(names)) != len(names):
        repeated = next(a for a, b in itertools.pairwise(names) if a == b)
        raise ValueError(f"identifier {repeated!r} is repeated: a split by record needs unique identifiers")
    order = np.random.default_rng(seed).permutation(len(names))
    sides: dict[str, data.Split] = {}
    held_out = len(names) // 10
    for rank, index in enumerate(order):
        sides[names[index]] = "test" if rank < held_out else "val" if rank < 2 * held_out else "train"
    return sides


def _records(path: str | Path) -> list[dict[str, Any]]:
    if Path(path).suffix.lower() in (".pkl", ".pickle", ".p"):
        raise ValueError(
            f"{Path(path).name} is a pickle, which can run any code when opened: convert it to JSON first "
            "(json.dump of the list of records, arrays as lists, structures as dictionaries)"
        )
    with open_text(path) as file:
        records = json.load(file)
    if not isinstance(records, list):
        raise ValueError(f"{Path(path).name}: expected a JSON list of records, got {type(records).__name__}")
    return records


def _first(record: dict[str, Any], names: Sequence[str]) -> Any:
    for name in names:
        if record.get(name) is not None:
            return record[name]
    raise ValueError(f"record has none of the fields {', '.join(names)}: it has {', '.join(sorted(record))}")


def _rows(
    path: str | Path, field: str, property_name: str, *, voigt_order: str | None, unit: str | None,
    max_component: float | None, minimum_component: float, seed: int, keep_withheld: bool,
) -> list[Row]:  # fmt: skip
    entry = tensors.tensor_property(property_name)

    def convert(record: dict[str, Any]) -> Row | None:
        identifier = str(_first(record, _IDENTIFIERS))
        if record.get(field) in (None, [], "na", ""):
            return None
        tensor = tensor_field(record[field], entry.shape, field, identifier)
        if voigt_order is not None:
            tensor = tensors.reorder_voigt(tensor, property_name, source=voigt_order, target="standard")
        if unit is not None:
            tensor = tensors.convert_units(tensor, source=unit, target=entry.unit)
        if entry.shape[0] == entry.shape[1]:
            tensor = (tensor + tensor.T) / 2
        largest = np.abs(tensor).max()
        if (max_component is not None and largest >= max_component) or largest < minimum_component:
            return None
        structure = _first(record, _STRUCTURES)
        if not isinstance(structure, dict):
            raise ValueError(f"{identifier}: the structure must be a dictionary, got {type(structure).__name__}")
        return {
            "dataset": f"jarvis_{property_name}",
            "functional": FUNCTIONAL,
            "id": identifier,
            **structure_fields(atoms_from_dict(structure)),
            "labels": {property_name: np.round(tensor, 6).tolist()},
            "flags": [],
        }

    # The random split is drawn over all records that pass the filters, withheld formulas included.
    source = f"JARVIS {property_name}"
    rows = collect(_records(path), convert, source, keep_withheld=True)
    sides = gmtnet_split([row["id"] for row in rows], seed)
    for row in rows:
        row["gmtnet_split"] = sides[row["id"]]
    return collect(rows, lambda row: row, source, keep_withheld=keep_withheld)


def jarvis_dielectric_rows(
    path: str | Path,
    *,
    field: str = "dielectric",
    max_component: float | None = 100.0,
    seed: int = 0,
    keep_withheld: bool = False,
) -> list[Row]:
    """Rows with ``labels['dielectric_tensor']`` (3x3, electronic, relative) and ``gmtnet_split``.

    Args:
        path: JSON list of records with an identifier, a structure (JARVIS or pymatgen dictionary) and ``field``.
        field: name of the tensor in the records.
        max_component: records with a component of at least this magnitude are left out; None keeps them.
        seed: of ``gmtnet_split``.
        keep_withheld: also return the formulas that the split rule withholds.
    """
    return _rows(
        path, field, "dielectric_tensor", voigt_order=None, unit=None, max_component=max_component,
        minimum_component=0.0, seed=seed, keep_withheld=keep_withheld,
    )  # fmt: skip


def jarvis_piezoelectric_rows(
    path: str | Path,
    *,
    field: str = "piezoelectric_C_m2",
    voigt_order: str = "vasp",
    max_component: float | None = 100.0,
    minimum_component: float = 0.0,
    seed: int = 0,
    keep_withheld: bool = False,
) -> list[Row]:
    """Rows with ``labels['piezoelectric_tensor']`` (3x6 Voigt, C/m^2) and ``gmtnet_split``.

    Args:
        path: JSON list of records with an identifier, a structure (JARVIS or pymatgen dictionary) and ``field``.
        field: name of the tensor in the records, C/m^2.
        voigt_order: order of its columns, 'vasp' (xx yy zz xy yz zx) or 'standard'.
        max_component: records with a component of at least this magnitude are left out; None keeps them.
        minimum_component: records whose largest component is smaller are left out.
        seed: of ``gmtnet_split``.
        keep_withheld: also return the formulas that the split rule withholds.
    """
    return _rows(
        path, field, "piezoelectric_tensor", voigt_order=voigt_order, unit=None, max_component=max_component,
        minimum_component=minimum_component, seed=seed, keep_withheld=keep_withheld,
    )  # fmt: skip


def jarvis_elastic_rows(
    path: str | Path,
    *,
    field: str = "elastic_tensor",
    unit: str = "GPa",
    voigt_order: str = "vasp",
    max_component: float | None = None,
    seed: int = 0,
    keep_withheld: bool = False,
) -> list[Row]:
    """Rows with ``labels['elastic_tensor']`` (6x6 Voigt, GPa, symmetrised) and ``gmtnet_split``.

    Args:
        path: JSON list of records with an identifier, a structure (JARVIS or pymatgen dictionary) and ``field``.
        field: name of the tensor in the records.
        unit: its unit, 'GPa' or 'kbar'.
        voigt_order: order of its rows and columns, 'vasp' (xx yy zz xy yz zx) or 'standard'.
        max_component: records with a component of at least this magnitude (GPa) are left out; None keeps them.
        seed: of ``gmtnet_split``.
        keep_withheld: also return the formulas that the split rule withholds.
    """
    if unit not in ("GPa", "kbar"):
        raise UnknownNameError(f"unknown unit {unit!r} of an elastic tensor: choose GPa or kbar")
    return _rows(
        path, field, "elastic_tensor", voigt_order=voigt_order, unit=unit, max_component=max_component,
        minimum_component=0.0, seed=seed, keep_withheld=keep_withheld,
    )  # fmt: skip
