"""What a new process imports on the way to its first tensor and its first energy."""

import subprocess
import sys

import pytest

#: Each takes tenths of a second or more to import and serves what a first query does not do.
LATE = (
    "e3nn",
    "matplotlib",
    "pandas",
    "phonopy",
    "pymatgen",
    "rich",
    "scipy.interpolate",
    "scipy.optimize",
    "scipy.special",
    "scipy.stats",
    "sympy",
    "torch._dynamo",
    "torch._inductor",
    "torch_geometric",
    "typer",
)
SCRIPT = """
import sys
import torch, ase, scipy, spglib
bare = set(sys.modules)
from ase import Atoms
from ase_comformer import GMTNetCalculator
atoms = Atoms("MgO", [(0, 0, 0), (2.1, 2.1, 2.1)], cell=[(0, 2.1, 2.1), (2.1, 0, 2.1), (2.1, 2.1, 0)], pbc=True)
GMTNetCalculator().get_property(sys.argv[1], atoms)
print(*sorted(set(sys.modules) - bare))
"""


@pytest.mark.parametrize("name", ["dielectric_tensor", "energy"])
def test_first_query_imports_little_beyond_torch_ase_and_spglib(name: str):
    done = subprocess.run([sys.executable, "-c", SCRIPT, name], capture_output=True, text=True, check=True)
    imported = done.stdout.split()
    assert "ase_comformer.calculator" in imported
    assert not [late for late in LATE if late in imported]
    ours = [module for module in imported if module.startswith("ase_comformer")]
    assert len(imported) - len(ours) < 250


def test_package_alone_does_not_import_torch():
    script = "import sys, ase_comformer; print('torch' in sys.modules, 'ase' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
