"""Predictions do not depend on how a crystal is written down: 42 crystals of the seven systems, float64, 1e-8.

Proper and improper rotations, origin shifts, permutations, 2x1x1 and 2x2x2 supercells, and the Niggli, conventional
and primitive cells, for every property, with random weights of each default network and with the shipped model,
without enforced symmetry.
"""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from ase import Atoms

import seven_systems
from ase_comformer.graph import build_graph, collate
from ase_comformer.nn import ARCHITECTURES
from ase_comformer.tensors import rotate, tensor_property
from ase_comformer.testing import (
    FLOAT64_INVARIANCE,
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
from ase_comformer.weights import load_model

CRYSTALS = seven_systems.ALL_CRYSTALS
IDENTITY = np.eye(3)


def variants(atoms: Atoms) -> Iterator[tuple[str, Atoms, np.ndarray, np.ndarray]]:
    """Name, structure, rotation of the tensors, and for each atom the atom of ``atoms`` it repeats."""
    generator = np.random.default_rng(len(atoms))
    same = np.arange(len(atoms))
    for name, improper in (("rotation", False), ("improper rotation", True)):
        rotation = random_rotation(generator, improper)
        yield name, rotate_atoms(atoms, rotation), rotation, same
    yield "origin", shift_origin(atoms, generator.uniform(-1, 1, 3)), IDENTITY, same
    permutation = generator.permutation(len(atoms))
    yield "permutation", permute_atoms(atoms, permutation), IDENTITY, permutation
    for repeats in ((2, 1, 1), (2, 2, 2)):
        yield f"supercell {repeats}", *_with_identity(supercell(atoms, repeats))
    yield "Niggli cell", *_with_identity(niggli_cell(atoms))
    yield "primitive cell", *_with_identity(primitive_cell(atoms, 1e-4))
    yield "conventional cell", *_with_identity(conventional_cell(atoms, 1e-4))


def _with_identity(changed: tuple[Atoms, np.ndarray]) -> tuple[Atoms, np.ndarray, np.ndarray]:
    return changed[0], IDENTITY, changed[1]


def random_networks() -> dict[str, list]:
    networks = []
    for number, name in enumerate(("TensorNetwork", "EComFormer", "IComFormer")):
        torch.manual_seed(number)
        networks.append(ARCHITECTURES[name]().double().eval())
    return networks


def shipped_networks() -> list:
    model = load_model("default", "cpu", "float64")
    return list({id(n): n for name in model.properties for n in model.entries(name)}.values())


@pytest.fixture(scope="module", params=["random", "shipped"])
def networks(request: pytest.FixtureRequest) -> list:
    return random_networks() if request.param == "random" else shipped_networks()


def evaluate(network, structures: list[Atoms]) -> list[dict[str, np.ndarray]]:
    graphs = [build_graph(atoms, network.graph_settings) for atoms in structures]
    with torch.no_grad():
        out = network(collate(graphs), network.properties)
    ends = np.cumsum([len(atoms) for atoms in structures])[:-1]
    results: list[dict[str, np.ndarray]] = [{} for _ in structures]
    for name, values in out.items():
        parts = np.split(values.numpy(), ends) if tensor_property(name).per_atom else list(values.numpy())
        for result, part in zip(results, parts, strict=True):
            result[name] = part
    return results


def test_there_are_forty_crystals_of_seven_systems() -> None:
    assert len(CRYSTALS) >= 40


@pytest.mark.parametrize("label", list(CRYSTALS))
def test_predictions_do_not_depend_on_the_description(label: str, networks: list) -> None:
    atoms = CRYSTALS[label]
    changed = list(variants(atoms))
    for network in networks:
        reference, *others = evaluate(network, [atoms, *(entry[1] for entry in changed)])
        for (what, _, rotation, origin), result in zip(changed, others, strict=True):
            for name, value in result.items():
                entry = tensor_property(name)
                expected = reference[name][origin] if entry.per_atom else reference[name]
                if entry.rank:
                    expected = np.asarray(rotate(expected, rotation, name))
                error = relative_error(value, expected)
                assert error < FLOAT64_INVARIANCE, f"{type(network).__name__} {name} under {what}: {error:.1e}"
