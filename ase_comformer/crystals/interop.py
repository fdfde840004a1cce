"""The one place where structures of other packages become ``ase.Atoms``: whoever takes ``Atoms`` calls ``as_atoms``."""

from __future__ import annotations

from typing import Any

from ase import Atoms

from ase_comformer.errors import InvalidStructureError


def as_atoms(structure: Any) -> Atoms:
    """Return ``structure`` if it is ``Atoms``, or a conversion of a pymatgen ``Structure`` or ``Molecule``.

    pymatgen is imported only if one of its objects comes.

    Args:
        structure: ``ase.Atoms``, or pymatgen's ``Structure``, ``IStructure``, ``Molecule`` or ``IMolecule``.

    Raises:
        InvalidStructureError: the object is neither, or a pymatgen structure has partially occupied sites.

    Example:
        >>> from ase.build import bulk
        >>> len(as_atoms(bulk("NaCl", "rocksalt", a=5.64)))
        2
    """
    if isinstance(structure, Atoms):
        return structure
    if any(base.__module__.partition(".")[0] == "pymatgen" for base in type(structure).__mro__):
        return _from_pymatgen(structure)
    raise InvalidStructureError(
        f"Expected an ase.Atoms or a pymatgen Structure, got {type(structure).__name__}. "
        "Read files with ase.io.read first."
    )


def _from_pymatgen(structure: Any) -> Atoms:
    from pymatgen.core import IMolecule, IStructure
    from pymatgen.io.ase import AseAtomsAdaptor

    if not isinstance(structure, IStructure | IMolecule):
        raise InvalidStructureError(
            f"Expected a pymatgen Structure or Molecule, got pymatgen's {type(structure).__name__}. "
            "Pass its structure, for example entry.structure."
        )
    if not structure.is_ordered:
        raise InvalidStructureError(
            f"The pymatgen structure {structure.formula} has partially occupied sites, and the networks know only "
            "whole atoms. Pass an ordered approximant (pymatgen's OrderDisorderedStructureTransformation)."
        )
    return AseAtomsAdaptor.get_atoms(structure, msonable=False)
