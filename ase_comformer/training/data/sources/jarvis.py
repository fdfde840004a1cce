"""JARVIS-DFT tensors of the kind GMTNet was trained on, from JSON records.

K. Choudhary et al., npj Comput. Mater. 6, 64 (2020) (dielectric, piezoelectric) and Phys. Rev. B 98, 014107 (2018)
(elastic), functional OptB88vdW; selection: Yan et al., arXiv:2406.12888: 4,713 dielectric, 4,998 piezoelectric and
14,220 elastic tensors, split 80/10/10.  Exports name their fields differently and the paper gives counts, not
thresholds: the caller says both.  Some exports are pickles, which run code when opened: convert them to JSON in an
environment you trust.
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
from ase_comformer.training.data import records as data
from ase_comformer.training.data.sources.common import (
    Row,
    atoms_from_dict,
    collect,
    open_text,
    structure_fields,
    tensor_field,
)

logger = logging.getLogger(__name__)

FUNCTIONAL = "OptB88vdW"
PROPERTIES: tuple[str, ...] = ("dielectric_tensor", "piezoelectric_tensor", "elastic_tensor")
"""Properties that ``jarvis_rows`` reads."""


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


def jarvis_rows(
    path: str | Path,
    property_name: str,
    *,
    tensor: str,
    structure: str,
    identifier: str,
    max_component: float | None,
    minimum_component: float = 0.0,
    voigt_order: str | None = None,
    unit: str | None = None,
    seed: int = 0,
    keep_withheld: bool = False,
) -> list[Row]:
    """Rows with the tensor in ``labels`` (documented form and unit, symmetrised) and ``gmtnet_split``.

    Args:
        path: JSON list of records: dictionaries with an identifier, a structure (JARVIS or pymatgen dictionary) and
            a tensor; records without the tensor are left out.
        property_name: one of ``PROPERTIES``; the dielectric tensor is the electronic one.
        tensor: name of the field with the tensor, (3,3), (3,6) or (6,6).
        structure: name of the field with the structure.
        identifier: name of the field with the identifier.
        max_component: records with a component of at least this magnitude (unit of the property) are left out;
            None keeps them.
        minimum_component: records whose largest component is smaller are left out.
        voigt_order: order of the Voigt columns, 'vasp' (xx yy zz xy yz zx) or 'standard'; required for
            piezoelectric and elastic tensors, whose order cannot be seen from the numbers.
        unit: of the records, 'GPa' or 'kbar'; required for elastic tensors, the others are in C/m^2 or relative.
        seed: of ``gmtnet_split``.
        keep_withheld: also return the formulas that the split rule withholds.

    Raises:
        UnknownNameError: for another property or unit.
        ValueError: without ``voigt_order`` where it is needed, for a pickle, or if no record can be read.
    """
    if property_name not in PROPERTIES:
        raise UnknownNameError(f"no JARVIS records of {property_name!r}: choose from {', '.join(PROPERTIES)}")
    is_voigt = property_name != "dielectric_tensor"
    if is_voigt and voigt_order is None:
        raise ValueError(f"{property_name}: give voigt_order, 'vasp' (xx yy zz xy yz zx) or 'standard'")
    if property_name == "elastic_tensor" and unit not in ("GPa", "kbar"):
        raise UnknownNameError(f"unknown unit {unit!r} of an elastic tensor: give unit='GPa' or unit='kbar'")
    entry = tensors.tensor_property(property_name)

    def convert(record: dict[str, Any]) -> Row | None:
        name = str(_field(record, identifier))
        if record.get(tensor) in (None, [], "na", ""):
            return None
        value = tensor_field(record[tensor], entry.shape, tensor, name)
        if voigt_order is not None and is_voigt:
            value = tensors.reorder_voigt(value, property_name, source=voigt_order, target="standard")
        if unit is not None:
            value = tensors.convert_units(value, source=unit, target=entry.unit)
        if entry.shape[0] == entry.shape[1]:
            value = (value + value.T) / 2
        largest = np.abs(value).max()
        if (max_component is not None and largest >= max_component) or largest < minimum_component:
            return None
        crystal = _field(record, structure)
        if not isinstance(crystal, dict):
            raise ValueError(f"{name}: the structure must be a dictionary, got {type(crystal).__name__}")
        return {
            "dataset": f"jarvis_{property_name}",
            "functional": FUNCTIONAL,
            "id": name,
            **structure_fields(atoms_from_dict(crystal)),
            "labels": {property_name: np.round(value, 6).tolist()},
            "flags": [],
        }

    # The random split is drawn over all records that pass the filters, withheld formulas included.
    source = f"JARVIS {property_name}"
    rows = collect(_records(path), convert, source, keep_withheld=True)
    sides = gmtnet_split([row["id"] for row in rows], seed)
    for row in rows:
        row["gmtnet_split"] = sides[row["id"]]
    return collect(rows, lambda row: row, source, keep_withheld=keep_withheld)


def _field(record: dict[str, Any], name: str) -> Any:
    if record.get(name) is None:
        raise ValueError(f"record has no field {name!r}: it has {', '.join(sorted(record))}")
    return record[name]
