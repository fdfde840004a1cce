"""Extended XYZ files with tensors in ``info`` (whole crystal) or ``arrays`` (per atom), read through ASE.

Keys are the public property names unless a mapping says otherwise.  A per-atom 3x3 tensor is an array with nine
columns, Z[atom, i, j] row by row.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from ase_comformer import tensors
from ase_comformer.errors import UnknownNameError
from ase_comformer.training.data.sources.common import Row, collect, open_text, structure_fields, tensor_field

logger = logging.getLogger(__name__)

# ASE reads these itself, stress in its own Voigt order; they become labels only when `keys` asks for them.
_ASE_OWN = ("energy", "forces", "stress")


def _lookup(atoms: Atoms, key: str) -> Any:
    # ASE moves the properties it knows, Born charges among them, from the file into a calculator.
    results = {} if atoms.calc is None else atoms.calc.results
    for place in (atoms.info, atoms.arrays, results):
        if key in place:
            return place[key]
    return None


def extxyz_rows(
    path: str | Path,
    *,
    keys: Mapping[str, str] | None = None,
    voigt_order: str | None = None,
    id_key: str = "id",
    keep_withheld: bool = False,
) -> list[Row]:
    """Rows with ``labels`` (public property names) from the frames of an extended XYZ file.

    Frames without any label are left out.  Tensors are in the Cartesian frame of the frame's cell, in the documented
    units; nothing is rotated or symmetrised.

    Args:
        path: file, possibly gzip-compressed.
        keys: key in the file -> public property name; default: the names of all properties except
            energy, forces and stress.
        voigt_order: 'standard' (xx yy zz yz xz xy) or 'vasp' (xx yy zz xy yz zx); needed for piezoelectric,
            elastic and other tensors with Voigt axes, which do not show their order.
        id_key: key of the identifier in ``info``; frames without it are numbered.
        keep_withheld: also return the formulas that the split rule withholds.

    Raises:
        FileNotFoundError: if the file does not exist.
        UnknownNameError: for an unknown property name or Voigt order.
        ValueError: if ``voigt_order`` is needed and not given, or no frame can be read.
    """
    names = dict(keys) if keys is not None else {name: name for name in tensors.PROPERTIES if name not in _ASE_OWN}
    for name in names.values():
        tensors.tensor_property(name)
    if voigt_order is not None and voigt_order not in tensors.VOIGT_ORDERS:
        raise UnknownNameError(f"unknown Voigt order {voigt_order!r}: choose from {', '.join(tensors.VOIGT_ORDERS)}")
    with open_text(path) as file:
        frames = list(ase.io.iread(file, index=":", format="extxyz"))
    needing = {
        key for key, name in names.items() if tensors.tensor_property(name).voigt is not None and name not in _ASE_OWN
    }
    present = sorted(key for key in needing if any(_lookup(frame, key) is not None for frame in frames))
    if present and voigt_order is None:
        raise ValueError(
            f"{Path(path).name} has tensors with Voigt axes ({', '.join(present)}): say their order with "
            "voigt_order='standard' or 'vasp'"
        )

    def convert(numbered: tuple[int, Atoms]) -> Row | None:
        number, atoms = numbered
        identifier = str(atoms.info.get(id_key, f"{Path(path).name}:{number}"))
        labels: dict[str, Any] = {}
        for key, name in names.items():
            value = _lookup(atoms, key)
            if value is None:
                continue
            entry = tensors.tensor_property(name)
            shape = (len(atoms), *entry.shape) if entry.per_atom else entry.shape
            array = np.asarray(value, dtype=np.float64)
            # Flattened tensors are taken row by row; any other shape is an error, never a guess.
            if array.size == np.prod(shape, dtype=int) and array.ndim < len(shape):
                array = array.reshape(shape)
            tensor = tensor_field(array, shape, key, identifier)
            if key in needing and voigt_order is not None:
                tensor = tensors.reorder_voigt(tensor, name, source=voigt_order, target="standard")
            labels[name] = tensor.tolist()
        if not labels:
            return None
        return {"dataset": "extxyz", "id": identifier, **structure_fields(atoms), "labels": labels, "flags": []}

    return collect(enumerate(frames), convert, Path(path).name, keep_withheld=keep_withheld)
