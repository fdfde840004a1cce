"""Forces and stress follow displacements and shears far below ``symprec``: F/u and stress/shear are constants.

At ``symprec`` = 0.01 A a displacement of 0.003 A or a shear of 0.0025 counts as fully symmetric; an energy surface that
idealised the structure would return zero for both (docs/architecture.md section 6). Random weights, float64; u from
1e-5 to 1e-2.
"""

from functools import cache

import numpy as np
import pytest
import torch
from ase import Atoms

from ase_comformer.calculator import GMTNetCalculator
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.graphs.crystal_graph import collate
from ase_comformer.nn.architectures.potential import Potential, PotentialResult, derivatives
from seven_systems import ALL_CRYSTALS

SIZES = (1e-5, 1e-4, 1e-3, 1e-2)
WIDTHS = {"scalars": 16, "vectors": 8, "layers": 3, "radial": 8, "hidden": 16}
CRYSTALS = ("MgO m-3m", "Si m-3m", "CsCl m-3m", "rutile 4/mmm", "ZnO 6mm", "quartz 32", "model -1")
SHEARS = {"yz": (1, 2), "xz": (0, 2), "xy": (0, 1)}


@cache
def network() -> Potential:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        potential = Potential(**WIDTHS, graph_settings={"kind": "radius", "cutoff": 5.5})
        with torch.no_grad():
            for parameter in potential.parameters():
                if not parameter.any():
                    parameter.normal_(std=0.3)
            potential.energy_scale.fill_(100.0)  # elastic constants of tens of GPa
    return potential.double().eval()


@torch.no_grad()
def evaluate(structures: list[Atoms]) -> PotentialResult:
    """The structures as they are."""
    graphs = [build_graph(atoms, network().graph_settings) for atoms in structures]
    return derivatives(network(), collate(graphs))


def displaced(atoms: Atoms, index: int, vector: np.ndarray) -> Atoms:
    moved = atoms.copy()
    moved.positions[index] += vector
    return moved


def sheared(atoms: Atoms, axes: tuple[int, int], size: float) -> Atoms:
    """Symmetric strain with both off-diagonal components ``size`` / 2: engineering shear ``size``."""
    strain = np.zeros((3, 3))
    strain[axes] = strain[axes[::-1]] = size / 2
    changed = atoms.copy()
    changed.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return changed


def antisymmetric(values: np.ndarray) -> np.ndarray:
    """Odd part of values at (+, -) pairs: (2 k, ...) -> (k, ...)."""
    return (values[0::2] - values[1::2]) / 2


def assert_constant(quotients: np.ndarray, what: str) -> None:
    """Quotients (sizes, ...) agree; cubic terms may show at 1e-2, rounding at 1e-5."""
    scale = np.abs(quotients[1]).max()
    assert scale > 1e-3, f"{what}: too soft to show anything"
    for size, quotient in zip(SIZES, quotients, strict=True):
        tolerance = {1e-5: 1e-6, 1e-4: 1e-6, 1e-3: 1e-4, 1e-2: 1e-2}[size]
        assert np.abs(quotient - quotients[1]).max() < tolerance * scale, f"{what} at {size}: {quotient}"


@pytest.mark.parametrize("name", CRYSTALS)
def test_force_over_displacement_is_constant(name: str):
    atoms = ALL_CRYSTALS[name]
    generator = np.random.default_rng(0)
    for index in (0, len(atoms) - 1):
        direction = generator.normal(size=3)
        direction /= np.linalg.norm(direction)
        structures = [displaced(atoms, index, sign * size * direction) for size in SIZES for sign in (1, -1)]
        forces = evaluate(structures).forces.reshape(len(structures), len(atoms), 3).numpy()
        quotients = antisymmetric(forces) / np.array(SIZES)[:, None, None]
        assert_constant(quotients, f"{name}, atom {index}")


@pytest.mark.parametrize("shear", SHEARS)
@pytest.mark.parametrize("name", CRYSTALS)
def test_stress_over_shear_is_constant(name: str, shear: str):
    atoms = ALL_CRYSTALS[name]
    structures = [sheared(atoms, SHEARS[shear], sign * size) for size in SIZES for sign in (1, -1)]
    stress = evaluate(structures).stress.numpy()
    assert_constant(antisymmetric(stress) / np.array(SIZES)[:, None, None], f"{name}, {shear}")


@pytest.mark.parametrize("size", [1e-3, 1e-2])
@pytest.mark.parametrize("name", CRYSTALS)
def test_forces_and_stress_are_those_of_the_energy(name: str, size: float):
    """Second differences of the energy, which know nothing of derivatives, give the same constants."""
    atoms = ALL_CRYSTALS[name]
    direction = np.array([0.36, -0.48, 0.8])
    pair = [displaced(atoms, 0, sign * size * direction) for sign in (1, -1)]
    result = evaluate([*pair, atoms])
    energy = result.energy.numpy()
    by_force = -antisymmetric(result.forces.reshape(3, len(atoms), 3).numpy()[:2, 0])[0] @ direction / size
    assert (energy[0] + energy[1] - 2 * energy[2]) / size**2 == pytest.approx(by_force, rel=0.02, abs=1e-4)
    # first order: dE = V stress : strain
    pair = [sheared(atoms, (1, 2), sign * size) for sign in (1, -1)]
    energy = evaluate(pair).energy.numpy()
    stress = evaluate([atoms]).stress.numpy()[0]
    expected = atoms.get_volume() * stress[1, 2]
    assert antisymmetric(energy)[0] / size == pytest.approx(expected, rel=0.02, abs=0.02 * abs(stress).max())


@pytest.mark.parametrize("size", [1e-5, 1e-3])
def test_idealising_would_lose_small_displacements_and_shears(size: float):
    """Why the plain graph is needed: within ``symprec`` the reduced graph knows the ideal crystal only."""
    atoms = ALL_CRYSTALS["MgO m-3m"]
    for changed in (displaced(atoms, 0, np.array([size, 0, 0])), sheared(atoms, (1, 2), size)):
        group = analyse_space_group(changed)
        assert (group.point_group, len(group.primitive)) == ("m-3m", 2)
        ideal = derivatives(network(), build_reduced_graph(group, network().graph_settings))
        assert ideal.forces.abs().max() < 1e-12
        assert ideal.stress[0, 1, 2].abs() < 1e-12
        real = evaluate([changed])
        assert max(real.forces.abs().max(), real.stress[0, 1, 2].abs()) > 1e-3 * size


def shipped_calculator() -> GMTNetCalculator:
    calculator = GMTNetCalculator(dtype="float64", device="cpu")
    if "forces" not in calculator.implemented_properties:
        pytest.skip("the shipped model has no energy surface")
    return calculator


@pytest.mark.parametrize("name", ["MgO m-3m", "rutile 4/mmm", "quartz 32"])
def test_the_calculator_does_not_idealise_what_it_differentiates(name: str):
    calculator, atoms = shipped_calculator(), ALL_CRYSTALS[name]
    forces, stresses = [], []
    for size in SIZES:
        for sign in (1, -1):
            moved = displaced(atoms, 0, sign * size * np.array([0.36, -0.48, 0.8]))
            forces.append(calculator.get_property("forces", moved))
            stresses.append(calculator.get_property("stress", sheared(atoms, (1, 2), sign * size)))
    for values, what in ((forces, "forces"), (stresses, "stress")):
        odd = antisymmetric(np.array(values))
        assert_constant(odd / np.array(SIZES).reshape(-1, *[1] * (odd.ndim - 1)), f"{name}, {what}")
