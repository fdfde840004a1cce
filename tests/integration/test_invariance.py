"""Nothing that describes a crystal changes its tensors: frame, origin, order of atoms, supercell, choice of cell.

Every property of every network, in float64 and without symmetry enforcement, for the crystals of ``seven_systems``:
the plain evaluation of the structure as it is must already be invariant to 1e-8 relative to max(norm, 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from ase import Atoms

from ase_comformer.inference import plausibility
from ase_comformer.inference.batches import predict
from ase_comformer.inference.potential_evaluator import POTENTIAL_PROPERTIES
from ase_comformer.models.registry import load_model, save_weights, weights_folder
from ase_comformer.nn import ARCHITECTURES
from ase_comformer.tensors.forms import PROPERTIES, rotate
from ase_comformer.testing import (
    FLOAT64_INVARIANCE,
    change_cell,
    conventional_cell,
    niggli_cell,
    permute_atoms,
    primitive_cell,
    random_rotation,
    relative_error,
    rotate_atoms,
    shift_origin,
    supercell,
)
from seven_systems import SEVEN_SYSTEMS
from tiny import TINY

ELEMENTS = sorted({str(s) for group in SEVEN_SYSTEMS.values() for atoms in group.values() for s in atoms.symbols})
COMFORMER = {"width": 16, "graph_settings": {"kind": "radius", "cutoff": 4.5}}
#: name -> architecture and arguments of the networks that get random weights
RANDOM: dict[str, tuple[str, dict]] = {
    "TensorNetwork": ("TensorNetwork", TINY),
    "eComFormer": ("EComFormer", COMFORMER),
    "iComFormer": (
        "IComFormer",
        {**COMFORMER, "graph_settings": {**COMFORMER["graph_settings"], "lattice_frame": True}},
    ),
}


@dataclass
class Variant:
    """Another description of a crystal.

    Attributes:
        what: the change.
        atoms: the crystal, described anew.
        index: the original atom behind each atom.
        rotation: from the original Cartesian frame.
    """

    what: str
    atoms: Atoms
    index: np.ndarray
    rotation: np.ndarray


def variants(atoms: Atoms, seed: int) -> list[Variant]:
    """The crystal itself first, then every other description of it."""
    generator = np.random.default_rng(seed)
    every, identity = np.arange(len(atoms)), np.eye(3)
    found = [Variant("itself", atoms, every, identity)]
    for improper in (False, True):
        rotation = random_rotation(generator, improper)
        what = "improper rotation" if improper else "proper rotation"
        found.append(Variant(what, rotate_atoms(atoms, rotation), every, rotation))
    shift = generator.normal(size=3) @ atoms.cell.array
    found.append(Variant("origin shift", shift_origin(atoms, shift), every, identity))
    order = generator.permutation(len(atoms))
    found.append(Variant("permutation", permute_atoms(atoms, order), order, identity))
    primitive, original = primitive_cell(atoms)
    chosen = {
        "supercell 2x1x1": supercell(atoms, (2, 1, 1)),
        "primitive cell": (primitive, original),
        "conventional cell": conventional_cell(atoms),
        "Niggli cell": niggli_cell(atoms),
        "skew cell": change_cell(atoms, np.array([[1, 1, 0], [0, 1, 0], [-1, 2, 1]]) @ atoms.cell.array),
    }
    eightfold, index = supercell(primitive, (2, 2, 2))
    chosen["supercell 2x2x2 of the primitive cell"] = eightfold, original[index]
    if len(atoms) == len(primitive):
        chosen.pop("primitive cell")
    else:
        reduced, index = niggli_cell(primitive)
        chosen["Niggli cell of the primitive cell"] = reduced, original[index]
    found.extend(Variant(what, changed, index, identity) for what, (changed, index) in chosen.items())
    # everything at once, which no single change would show
    larger, index = supercell(primitive, np.array([[1, 1, 0], [0, 2, 0], [-1, 0, 1]]))
    rotation, order = random_rotation(generator, improper=True), generator.permutation(len(larger))
    turned = permute_atoms(shift_origin(rotate_atoms(larger, rotation), generator.normal(size=3)), order)
    found.append(Variant("all at once", turned, original[index][order], rotation))
    return found


@cache
def described(system: str) -> dict[str, list[Variant]]:
    return {name: variants(atoms, seed) for seed, (name, atoms) in enumerate(SEVEN_SYSTEMS[system].items())}


def expected(name: str, original: np.ndarray, variant: Variant) -> np.ndarray:
    """What the property of the original crystal becomes in another description."""
    entry = PROPERTIES[name]
    value = original[variant.index] if entry.per_atom else original
    return value if entry.rank == 0 else rotate(value, variant.rotation, name)


def assert_invariant(system: str, model: str, properties: Sequence[str]) -> dict[str, float]:
    """Compare all descriptions of all crystals of a system; returns the largest norm of each property.

    The error must also be small relative to that norm, so that small outputs do not hide behind max(norm, 1).
    """
    crystals = described(system)
    flat = [variant for found in crystals.values() for variant in found]
    outputs = predict(
        [variant.atoms for variant in flat],
        properties,
        model=model,
        dtype="float64",
        device="cpu",
        enforce_symmetry=False,
        batch_size=16,
        on_error="raise",
    )
    worst: dict[str, tuple[float, str]] = {}
    norms = dict.fromkeys(properties, 0.0)
    largest = dict.fromkeys(properties, 0.0)
    start = 0
    for name, found in crystals.items():
        original = outputs[start]
        for variant, output in zip(found, outputs[start : start + len(found)], strict=True):
            for key in properties:
                reference = expected(key, np.asarray(original[key]), variant)
                error = relative_error(output[key], reference)
                worst[key] = max(worst.get(key, (0.0, "")), (error, f"{name}, {variant.what}"))
                norms[key] = max(norms[key], float(np.linalg.norm(output[key])))
                largest[key] = max(largest[key], float(np.linalg.norm(output[key] - reference)))
        start += len(found)
    failed = {key: value for key, value in worst.items() if not value[0] <= FLOAT64_INVARIANCE}
    assert not failed, failed
    assert all(largest[key] <= FLOAT64_INVARIANCE * norms[key] for key in properties), (largest, norms)
    return norms


@pytest.fixture(scope="module")
def random_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Paths of networks with random weights of every architecture."""
    directory = tmp_path_factory.mktemp("random")
    paths = {}
    for name, (architecture, arguments) in RANDOM.items():
        with torch.random.fork_rng():
            torch.manual_seed(1)
            network = ARCHITECTURES[architecture](**arguments)
            with torch.no_grad():
                for parameter in network.parameters():
                    if not parameter.any():  # heads that start at zero would make the test empty
                        parameter.normal_(std=0.3)
                    elif parameter.dim() > 1:  # and small weights nearly isotropic tensors
                        parameter.mul_(2.0)
        covered = {key: {"elements": ELEMENTS, "functional": "none", "kind": "random"} for key in network.properties}
        paths[name] = str(save_weights(network, directory, name, {"properties": covered}))
    return paths


def test_there_are_at_least_forty_crystals_over_the_seven_systems():
    assert len(SEVEN_SYSTEMS) == 7
    assert sum(map(len, SEVEN_SYSTEMS.values())) >= 40
    assert all(len(group) >= 6 for group in SEVEN_SYSTEMS.values())


@pytest.mark.parametrize("system", SEVEN_SYSTEMS)
def test_descriptions_cover_every_change_and_keep_the_density(system: str):
    for found in described(system).values():
        density = len(found[0].atoms) / found[0].atoms.cell.volume
        for variant in found:
            assert len(variant.atoms) / variant.atoms.cell.volume == pytest.approx(density)
            np.testing.assert_array_equal(variant.atoms.numbers, found[0].atoms.numbers[variant.index])
            np.testing.assert_allclose(variant.rotation @ variant.rotation.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("system", SEVEN_SYSTEMS)
@pytest.mark.parametrize("architecture", RANDOM)
def test_random_weights_are_invariant(
    architecture: str, system: str, random_models: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    # random weights know no matter: what they return may be larger than anything physical
    monkeypatch.setattr(plausibility, "LARGEST_MAGNITUDES", {})
    properties = load_model(random_models[architecture], dtype="float64").properties
    norms = assert_invariant(system, random_models[architecture], properties)
    assert all(norm > 1e-3 for norm in norms.values()), f"an output is too small to show anything: {norms}"


@pytest.mark.slow
@pytest.mark.skipif(not (weights_folder() / "default.json").exists(), reason="no shipped default model")
@pytest.mark.filterwarnings("ignore:.*(likely a metal|no reference structure of this element|the expected error of)")
@pytest.mark.parametrize("system", SEVEN_SYSTEMS)
def test_shipped_weights_are_invariant(system: str):
    model = load_model("default", dtype="float64")
    # the energy surface is extensive and has its own test (test_shipped_potential.py)
    assert_invariant(system, "default", [name for name in model.properties if name not in POTENTIAL_PROPERTIES])
