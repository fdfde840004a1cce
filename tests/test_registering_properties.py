"""Three tensors that the package does not know, each registered by one file of ``tests/extensions``.

Everything else is the package's: rotation, projection, counts, report, heads, training, evaluation, calculator.
"""

import contextlib
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from ase_comformer import GMTNetCalculator
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.errors import UnknownNameError
from ase_comformer.graphs.building import build_graph, build_reduced_graph
from ase_comformer.nn.architectures.tensor_network import TensorNetwork
from ase_comformer.nn.ensemble import Ensemble
from ase_comformer.properties import registered as registered_module
from ase_comformer.properties.entry import TensorProperty
from ase_comformer.properties.plugins import VARIABLE, load_plugins
from ase_comformer.properties.registry import PROPERTIES, register, temporary_registry, tensor_property
from ase_comformer.tensors.forms import from_cartesian, rotate, to_cartesian
from ase_comformer.tensors.index_symmetry import count_invariants, symmetrise
from ase_comformer.tensors.site_components import independent_components
from ase_comformer.tensors.symmetry_report import project, symmetry_report
from ase_comformer.training.data.records import split_of
from ase_comformer.training.evaluation.evaluate import run as evaluate
from ase_comformer.training.export import run as export
from seven_systems import SEVEN_SYSTEMS

pytestmark = pytest.mark.usefixtures("registered")
EXTENSIONS = Path(__file__).parent / "extensions"
FILES = {
    "raman_tensor": "raman.py",
    "second_harmonic_tensor": "second_harmonic.py",
    "photoelastic_tensor": "photoelastic.py",
}
NAMES = tuple(FILES)
#: A few crystals of every system, the cubic ones of all classes that differ.
ALL = {name: atoms for group in SEVEN_SYSTEMS.values() for name, atoms in [*group.items()][:3]}
ALL |= {name: SEVEN_SYSTEMS["cubic"][name] for name in ("GaAs -43m", "FeSi 23")}
ALL |= {name: SEVEN_SYSTEMS["hexagonal"][name] for name in ("beta-quartz 622", "LiIO3 6")}


@pytest.fixture
def registered():
    """Register the three for one test, and undo it."""
    with temporary_registry():
        load_plugins(FILES.values(), EXTENSIONS)
        yield


def by_einsum(name: str, documented: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Every index turned by one einsum, independently of the package's way."""
    full = to_cartesian(documented, name)
    rank = tensor_property(name).rank
    old, new = "abcd"[:rank], "ijkl"[:rank]
    factors = ",".join(f"{i}{a}" for i, a in zip(new, old, strict=True))
    turned = np.einsum(f"{factors},...{old}->...{new}", *[rotation] * rank, full, optimize=True)
    return from_cartesian(turned, name)


def random_tensor(name: str, atoms: Atoms, seed: int = 0) -> np.ndarray:
    entry = tensor_property(name)
    shape = (len(atoms), *entry.shape) if entry.per_atom else entry.shape
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("name", NAMES)
def test_rotation_agrees_with_einsum(name):
    tensor = random_tensor(name, bulk("Si"))
    tensor = from_cartesian(symmetrise(to_cartesian(tensor, name), tensor_property(name).formula), name)
    for seed, sign in ((0, 1), (1, -1)):
        rotation = sign * Rotation.random(random_state=seed).as_matrix()
        np.testing.assert_allclose(rotate(tensor, rotation, name), by_einsum(name, tensor, rotation), atol=1e-12)
        turned = rotate(torch.tensor(tensor), torch.tensor(rotation), name).numpy()
        np.testing.assert_allclose(turned, by_einsum(name, tensor, rotation), atol=1e-12)


@pytest.mark.parametrize("crystal", ALL)
@pytest.mark.parametrize("name", NAMES)
def test_projection_agrees_with_the_mean_over_the_group_by_einsum(name, crystal):
    atoms = ALL[crystal]
    group = analyse_space_group(atoms)
    raw = random_tensor(name, atoms)
    entry = tensor_property(name)
    tensor = from_cartesian(symmetrise(to_cartesian(raw, name), entry.formula), name)
    if entry.per_atom:  # the operations carry atoms of the primitive cell onto each other
        owner = group.atom_to_primitive
        primitive = np.stack([tensor[owner == k].mean(axis=0) for k in range(len(group.primitive))])
        total = np.zeros_like(primitive)
        for rotation, permutation in zip(group.rotations, group.permutations, strict=True):
            total[permutation] += by_einsum(name, primitive, rotation) / group.order
        expected = (total - total.mean(axis=0))[owner]
    else:
        expected = np.mean([by_einsum(name, tensor, rotation) for rotation in group.rotations], axis=0)
    projected = project(name, raw, group)
    np.testing.assert_allclose(projected, expected, atol=1e-12)
    np.testing.assert_allclose(project(name, projected, group), projected, atol=1e-12)


@pytest.mark.parametrize("crystal", ALL)
@pytest.mark.parametrize("name", NAMES)
def test_independent_components_are_as_many_as_the_characters_say(name, crystal):
    group = analyse_space_group(ALL[crystal])
    entry = tensor_property(name)
    expected = count_invariants(entry.formula, group.rotations)
    if entry.per_atom:
        # one set per orbit of atoms, less the conditions of the sum rule: those of its projector on the orbits' sums
        sites = [group.rotations[fixing] for fixing in group.site_groups.T[group.representatives]]
        conditions = rank_of_sums(entry.formula, group.rotations, sites)
        expected = sum(count_invariants(entry.formula, site) for site in sites) - conditions
    assert independent_components(name, group) == expected


def rank_of_sums(formula, rotations, sites):
    """How many combinations the sums over orbits span: point-group means of tensors invariant under a site group."""
    rank = formula.index("=")
    units = symmetrise(np.eye(3**rank).reshape(-1, *(3,) * rank), formula)
    letters = "abcd"[:rank], "ijkl"[:rank]
    factors = ",".join(f"g{i}{a}" for i, a in zip(letters[1], letters[0], strict=True))

    def mean(operations, tensors):
        total = np.einsum(f"{factors},n{letters[0]}->n{letters[1]}", *[operations] * rank, tensors, optimize=True)
        return total / len(operations)

    sums = np.concatenate([mean(rotations, mean(site, units)) for site in sites])
    return np.linalg.matrix_rank(sums.reshape(len(sums), -1), tol=1e-8)


def test_reports_say_what_textbooks_say():
    """Nye, Physical Properties of Crystals (1985), tables for each class; R. Loudon, Adv. Phys. 13, 423 (1964)."""
    diamond, zincblende = (
        analyse_space_group(bulk("C", a=3.57)),
        analyse_space_group(bulk("GaAs", "zincblende", a=5.65)),
    )
    rng = np.random.default_rng(0)
    text = str(symmetry_report(diamond, {"raman_tensor": rng.normal(size=(2, 3, 3, 3))}))
    assert "raman_tensor (1/A): 1 independent" in text
    assert "R(C0)_zyx" not in text  # the same as R(C0)_yzx by its formula
    assert text.count("= R(C0)_yzx") == 2  # R_xzy and R_xyz
    text = str(symmetry_report(zincblende, {"second_harmonic_tensor": rng.normal(size=(3, 6))}))
    assert "second_harmonic_tensor (pm/V): 1 independent" in text
    assert [line.split()[0] for line in text.splitlines() if "= d14" in line] == ["d25", "d36"]
    cubic = symmetry_report(zincblende, {"photoelastic_tensor": rng.normal(size=(6, 6))})
    assert cubic.properties["photoelastic_tensor"].independent == 3
    lower = symmetry_report(analyse_space_group(ALL["FeSi 23"]), {"photoelastic_tensor": rng.normal(size=(6, 6))})
    assert lower.properties["photoelastic_tensor"].independent == 4  # p12 and p13 differ: no major symmetry
    statuses = {row.label: row.status_text for row in lower.properties["photoelastic_tensor"].components}
    assert len(statuses) == 36
    assert statuses["p12"] == "free"
    assert statuses["p13"] == "free"
    assert statuses["p14"] == "forbidden"


def widths(names) -> TensorNetwork:
    torch.manual_seed(0)
    network = TensorNetwork(
        properties=names, scalars=8, vectors=6, layers=2, radial=4, hidden=8, crystal=8, high=4,
        graph_settings={"kind": "radius", "cutoff": 4.5},
    )  # fmt: skip
    return network.double().eval()


REDUCED = ("Si m-3m", "GaAs -43m", "FeSi 23", "ZnO 6mm", "quartz 32", "beta-quartz 622", "Al2O3 -3m")


@pytest.mark.parametrize("crystal", REDUCED)
def test_heads_turn_with_the_crystal_and_agree_on_reduced_graphs(crystal):
    network = widths(NAMES)
    group = analyse_space_group(ALL[crystal])
    settings = network.graph_settings
    plain = network(build_graph(group.primitive, settings), NAMES)
    reduced = network(build_reduced_graph(group, settings), NAMES)
    rotation = -Rotation.random(random_state=1).as_matrix()
    turned_atoms = group.primitive.copy()
    turned_atoms.set_cell(turned_atoms.cell.array @ rotation.T, scale_atoms=True)
    turned = network(build_graph(turned_atoms, settings), NAMES)
    for name in NAMES:
        value = plain[name] if tensor_property(name).per_atom else plain[name][0]
        other = turned[name] if tensor_property(name).per_atom else turned[name][0]
        size = max(float(value.detach().abs().max()), 1.0)
        np.testing.assert_allclose(other.detach(), rotate(value.detach(), rotation, name), atol=1e-10 * size)
        np.testing.assert_allclose(reduced[name].detach(), plain[name].detach(), atol=1e-10 * size)
        np.testing.assert_allclose(
            project(name, value.detach().numpy(), plain_group(group)), value.detach(), atol=1e-9 * size
        )


def plain_group(group):
    return analyse_space_group(group.primitive)


@pytest.mark.parametrize(("name", "crystal"), [
    ("raman_tensor", "Si m-3m"), ("raman_tensor", "GaAs -43m"), ("second_harmonic_tensor", "GaAs -43m"),
    ("second_harmonic_tensor", "beta-quartz 622"), ("photoelastic_tensor", "MgO m-3m"),
])  # fmt: skip
def test_heads_reach_every_component_that_high_symmetry_allows(name, crystal):
    group = analyse_space_group(ALL[crystal])
    graph = build_graph(group.primitive, widths(NAMES).graph_settings)
    found = []
    for seed in range(12):
        torch.manual_seed(seed)
        network = TensorNetwork(
            properties=[name], scalars=8, vectors=6, layers=2, radial=4, hidden=8, crystal=8, high=4,
            graph_settings={"kind": "radius", "cutoff": 4.5},
        ).double()  # fmt: skip
        found.append(network(graph, [name])[name].detach().numpy().ravel())
    expected = independent_components(name, group)
    singular = np.linalg.svd(np.array(found), compute_uv=False)
    assert (singular > 1e-8 * singular[0]).sum() == expected


@contextlib.contextmanager
def without_registration(name):
    """A registry that does not know a property, as that of another process."""
    with temporary_registry():
        registered_table().pop(name)
        yield


def registered_table():
    """The table behind the registry, which only tests take entries out of."""
    return registered_module._registered


def write_labels(folder: Path) -> None:
    """One data set per tensor, with made-up labels that have the symmetry of their crystals."""
    for name in NAMES:
        rows = []
        for number, (formula, a) in enumerate(LABELLED):
            kind = "zincblende" if number % 2 else "rocksalt"
            atoms = bulk(formula, kind, a=a)
            group = analyse_space_group(atoms)
            rows.append({
                "id": f"x-{number}", "formula": formula, "split": split_of(formula), "numbers": atoms.numbers.tolist(),
                "lattice": atoms.cell.tolist(), "frac": atoms.get_scaled_positions().tolist(), "flags": [],
                "functional": PROPERTIES[name].functional,
                "labels": {name: project(name, random_tensor(name, atoms, number), group).tolist()},
            })  # fmt: skip
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows if row["split"] != "withheld")


LABELLED = [("CaO", 4.81), ("SrO", 5.16), ("BaO", 5.54), ("CaS", 5.69), ("SrS", 6.02), ("LiF", 4.03), ("KF", 5.35),
            ("NaF", 4.63), ("KCl", 6.29), ("LiCl", 5.13), ("RbF", 5.65), ("CsF", 6.01), ("MnO", 4.44), ("NiO", 4.18),
            ("TiC", 4.33), ("TiN", 4.24), ("ZrC", 4.70), ("VN", 4.14), ("LaN", 5.3), ("ScN", 4.5), ("FeO", 4.33),
            ("CoC", 4.2), ("KC", 5.3), ("GaAs", 5.65), ("ZnS", 5.41), ("InP", 5.87), ("AlP", 5.45),
            ("CdTe", 6.48)]  # fmt: skip
CONFIG = """
name = "tiny"
architecture = "TensorNetwork"
plugins = ["{plugin}"]
datasets = ["{name}"]
properties = ["{name}"]
epochs = 1
batch_size = 4
output = "runs"

[arguments]
properties = ["{name}"]
graph_settings = {{kind = "radius", cutoff = 4.0}}
scalars = 8
vectors = 4
layers = 2
hidden = 8
crystal = 8
high = 4
"""


@pytest.mark.parametrize("name", NAMES)
def test_an_epoch_of_training_evaluation_and_a_query(name, tmp_path, monkeypatch):
    from ase_comformer.cli.application import application

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASE_COMFORMER_DATA", str(tmp_path))
    write_labels(tmp_path)
    (tmp_path / FILES[name]).write_bytes((EXTENSIONS / FILES[name]).read_bytes())
    (tmp_path / "config.toml").write_text(CONFIG.format(name=name, plugin=FILES[name]))
    with without_registration(name):  # the configuration names the file
        done = CliRunner().invoke(application, ["train", "config.toml"])
        assert done.exit_code == 0, done.output
        validation = json.loads((tmp_path / "runs/tiny/best.json").read_text())["validation_loss"]
        assert 0.0 < validation[name] < 10.0
        path = export(tmp_path / "runs/tiny", tmp_path / "weights", data=tmp_path)
    bulk("CaO", "zincblende", a=4.5).write("crystal.xyz", format="extxyz")
    with without_registration(name), pytest.raises(UnknownNameError, match=VARIABLE):
        GMTNetCalculator(model=str(path))
    monkeypatch.setenv(VARIABLE, FILES[name])
    with without_registration(name):  # the environment names it
        done = CliRunner().invoke(application, ["predict", "crystal.xyz", "--model", str(path), "--json"])
        assert name in json.loads(done.output)["results"][0], done.output
    result = evaluate(str(path), "test", folder=tmp_path, progress=False)
    section = result.find(name)
    assert [row for row, _ in section.rows] == ["tiny", "zero", "constant median"]
    assert all(metrics.count > 0 for _, metrics in section.rows)
    atoms = bulk("CaO", "zincblende", a=4.5)
    calculator = GMTNetCalculator(model=str(path), dtype="float64")
    value = calculator.get_property(name, atoms)
    entry = tensor_property(name)
    assert value.shape == ((2, *entry.shape) if entry.per_atom else entry.shape)
    assert np.abs(value).max() > 0.0
    np.testing.assert_allclose(project(name, value, analyse_space_group(atoms)), value, atol=1e-12)
    assert calculator.describe(name)["unit"] == entry.unit
    assert name in str(calculator.symmetry_report(atoms))
    raw = GMTNetCalculator(model=str(path), dtype="float64", enforce_symmetry=False).get_property(name, atoms)
    np.testing.assert_allclose(raw, value, atol=1e-9 * np.abs(value).max())


def test_weights_of_an_unregistered_property_say_what_to_do(tmp_path):
    with temporary_registry(), pytest.raises(UnknownNameError, match="ASE_COMFORMER_PLUGINS"):
        tensor_property("hall_tensor")


OPTICAL = TensorProperty("gyration_tensor", "g", "ij=ji", "1", "optical activity", is_axial=True, functional="PBEsol")


@pytest.mark.parametrize(("crystal", "independent"), [("quartz 32", 2), ("beta-quartz 622", 2), ("Al2O3 -3m", 0)])
def test_axial_tensors_change_sign_under_improper_rotations(crystal, independent):
    """Optical activity: Nye, Physical Properties of Crystals (1985), chapter XIV."""
    name = register(OPTICAL).name
    group = analyse_space_group(ALL[crystal])
    assert count_invariants(OPTICAL.formula, group.rotations, is_axial=True) == independent
    assert independent_components(name, group) == independent
    network = widths([name])
    value = network(build_graph(group.primitive, network.graph_settings), [name])[name][0].detach().numpy()
    np.testing.assert_allclose(project(name, value, group), value, atol=1e-10)
    assert (np.abs(value).max() > 1e-8) == (independent > 0)
    mirrored = group.primitive.copy()
    mirrored.set_cell(-mirrored.cell.array, scale_atoms=True)
    other = network(build_graph(mirrored, network.graph_settings), [name])[name][0].detach().numpy()
    np.testing.assert_allclose(other, -value, atol=1e-10)
    reduced = network(build_reduced_graph(group, network.graph_settings), [name])[name][0].detach().numpy()
    np.testing.assert_allclose(reduced, value, atol=1e-10)


def test_several_networks_with_registered_heads_are_evaluated_as_one():
    networks = []
    for seed in range(2):
        network = widths(NAMES)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)) / 10)
        networks.append(network.requires_grad_(False))
    group = analyse_space_group(ALL["quartz 32"])
    graph = build_reduced_graph(group, networks[0].graph_settings)
    found = Ensemble().means(dict.fromkeys(networks, NAMES), lambda network: ("quartz", graph))
    for name in NAMES:
        expected = torch.stack([network(graph, NAMES)[name] for network in networks]).mean(0)
        np.testing.assert_allclose(found[name], expected, atol=1e-10 * float(expected.abs().max()))
