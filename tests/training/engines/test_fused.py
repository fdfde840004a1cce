"""The Triton kernels in Triton's interpreter against the same sums in PyTorch; skipped where Triton is not there."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

SCRIPT = """
import torch
from ase_comformer.training.engines import fused
torch.manual_seed(0)
edges, width = 57, 70
starts = torch.tensor([0, 5, 5, 30, 57])
pair_starts = torch.tensor([0, 3, 5, 5, 30, 40, 57])
values, table = torch.randn(10 * edges), torch.randn(edges, width)
expected = fused.moment_sums(values, table, starts, pair_starts)
found = torch.full_like(expected, float("nan"))
fused.launch_moments(values, table, starts, pair_starts, found)
torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
blocks, columns = torch.randn(8, 20, width), torch.randint(20, (57,))
expected = fused.segment_sums(blocks, columns, starts)
found = torch.full_like(expected, float("nan"))
fused.launch_segments(blocks, columns, starts, found)
torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
"""


def test_kernels_give_the_sums_that_pytorch_gives() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
