"""The table of crystal classes and systems agrees with spglib and pymatgen for every space group."""

import numpy as np
import pytest
from pymatgen.symmetry.groups import SpaceGroup
from spglib import get_spacegroup_type

from ase_comformer.crystals.operations import primitive_operations
from ase_comformer.crystals.point_groups import CENTROSYMMETRIC_CLASSES, crystal_system_of, point_group_of


def first_settings() -> dict[int, tuple[int, str, str]]:
    """Space-group number to Hall number, point group and full symbol of its first setting."""
    found: dict[int, tuple[int, str, str]] = {}
    for hall_number in range(1, 531):
        kind = get_spacegroup_type(hall_number)
        found.setdefault(kind.number, (hall_number, kind.pointgroup_international, kind.international_short))
    return found


def test_point_groups_agree_with_spglib() -> None:
    for number, (_, symbol, _) in first_settings().items():
        assert point_group_of(number) == symbol.replace("-62m", "-6m2")


def test_crystal_systems_agree_with_pymatgen() -> None:
    for number in range(1, 231):
        assert crystal_system_of(number) == SpaceGroup.from_int_number(number).crystal_system


def test_centrosymmetric_classes_are_those_whose_operations_hold_the_inversion() -> None:
    for number, (hall_number, _, international) in first_settings().items():
        rotations = primitive_operations(hall_number, international[0]).rotations
        has_inversion = (rotations == -np.eye(3, dtype=int)).all(axis=(1, 2)).any()
        assert has_inversion == (point_group_of(number) in CENTROSYMMETRIC_CLASSES)


@pytest.mark.parametrize("number", [0, 231, -5])
def test_a_number_outside_the_tables_is_an_error(number: int) -> None:
    for function in (point_group_of, crystal_system_of):
        with pytest.raises(ValueError, match=f"{number} is not one of 1 to 230"):
            function(number)
