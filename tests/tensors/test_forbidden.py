"""The operation that is named for a zero does forbid the component, alone."""

import numpy as np
import pytest

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.properties.registry import tensor_property
from ase_comformer.tensors.components import direction_symbols
from ase_comformer.tensors.forbidden import TOGETHER, forbidding_operations
from ase_comformer.tensors.forms import rotate
from ase_comformer.tensors.reynolds import distinct_components
from ase_comformer.tensors.symmetry_report import symmetry_report
from seven_systems import SEVEN_SYSTEMS

#: The first two crystals of every system.
CRYSTALS = {name: atoms for group in SEVEN_SYSTEMS.values() for name, atoms in list(group.items())[:2]}


@pytest.mark.parametrize("name", ["dielectric_tensor", "piezoelectric_tensor", "elastic_tensor"])
@pytest.mark.parametrize("crystal", sorted(CRYSTALS))
def test_named_operation_makes_the_component_vanish(crystal, name):
    group = analyse_space_group(CRYSTALS[crystal], 1e-2)
    entry = tensor_property(name)
    named = forbidding_operations(name, group)
    random = np.random.default_rng(0).normal(size=entry.shape)
    random = random if entry.shape == (3, 6) else random + random.T
    (report,) = symmetry_report(group, {name: random}).properties.values()
    assert [bool(text) for text in named] == [row.status == "forbidden" for row in report.components]
    symbols = direction_symbols(group)
    for number, text in enumerate(named):
        if text in ("", TOGETHER):
            continue
        # several operations may bear a symbol (axes in parallel cosets); the first is meant
        rotation = group.rotations[symbols.index(text)]
        powers = [np.linalg.matrix_power(rotation, k) for k in range(12)]  # orders 1, 2, 3, 4, 6 divide 12
        average = np.mean([rotate(random, power, name) for power in powers], axis=0)
        assert abs(distinct_components(entry, average)[number]) < 1e-8
