"""Maps are in IEEE axes, with the entries marked that vanish there, and their files are small."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.plotting.tensor_maps import TensorComparison, tensor_map_figure
from ase_comformer.tensors.forms import rotate
from ase_comformer.tensors.reynolds import project
from ase_comformer.testing import random_rotation, rotate_atoms
from benchmarks.seven_systems import seven_systems
from benchmarks.tensor_maps import in_ieee_axes, shrink

SHAPES = {"dielectric_tensor": (3, 3), "piezoelectric_tensor": (3, 6), "elastic_tensor": (6, 6)}
CRYSTALS = {name: group for name, group in seven_systems().items() if name in ("quartz", "rutile", "KNbO3", "model 2")}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("crystal", CRYSTALS)
def test_what_is_marked_vanishes_in_ieee_axes_and_nothing_else_does(name: str, crystal: str):
    random = np.random.default_rng(2)
    atoms = rotate_atoms(CRYSTALS[crystal].primitive, random_rotation(random))
    tensor = random.normal(size=SHAPES[name])
    tensor = tensor + tensor.T if tensor.shape[0] == tensor.shape[1] else tensor
    tensor = project(name, tensor, analyse_space_group(atoms))
    seen, forbidden, rotation = in_ieee_axes(tensor, atoms, name)
    np.testing.assert_allclose(seen, rotate(tensor, rotation, name), atol=1e-12)
    np.testing.assert_allclose(seen[forbidden], 0.0, atol=1e-9)
    # C66 of trigonal crystals and the like are sums, yet not zero
    assert (np.abs(seen[~forbidden]) > 1e-6).all()


def test_a_palette_makes_the_file_smaller_and_keeps_its_size(tmp_path):
    from PIL import Image

    path = tmp_path / "map.png"
    values = np.arange(36.0).reshape(6, 6)
    tensor_map_figure([TensorComparison("", values, values, values > 30)] * 6, path)
    before = path.stat().st_size
    with Image.open(path) as image:
        size = image.size
    shrink(path)
    assert path.stat().st_size < 0.6 * before
    with Image.open(path) as image:
        assert image.size == size
