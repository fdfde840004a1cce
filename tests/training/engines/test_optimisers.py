"""Optimisers: what goes to which, and what Muon's steps look like."""

import pytest
import torch
from torch import nn

from ase_comformer.errors import UnknownNameError
from ase_comformer.training.config import TrainingConfig
from ase_comformer.training.engines.optimisers import Muon, make_optimisers, orthogonalised
from tiny import TINY, tiny_potential


def config(optimiser: str) -> TrainingConfig:
    return TrainingConfig("tiny", "Potential", TINY, ["labelled"], ["energy"], optimiser=optimiser)


@pytest.mark.parametrize("shape", [(20, 20), (20, 50), (50, 20)])
def test_orthogonalised_matrices_keep_singular_vectors_and_lose_singular_values(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    found = left.t() @ orthogonalised(matrix[None])[0] @ right.t()
    torch.testing.assert_close(found, torch.diag(found.diagonal()), atol=1e-10, rtol=0)
    assert values.max() / values.min() > 2.5
    assert 0.6 < found.diagonal().min() <= found.diagonal().max() < 1.3


def test_steps_do_not_depend_on_the_scale_of_the_gradient():
    steps = []
    for scale in (1e-4, 1.0, 1e4):
        matrix = nn.Parameter(torch.zeros(16, 32))
        optimiser = Muon([matrix], lr=0.1)
        matrix.grad = scale * torch.randn(16, 32, generator=torch.Generator().manual_seed(1))
        optimiser.step()
        steps.append(matrix.detach().clone())
    for step in steps[1:]:
        torch.testing.assert_close(step, steps[0], rtol=1e-3, atol=1e-5)
    assert steps[0].square().mean().sqrt() == pytest.approx(0.2 * 0.1, rel=0.3)  # as AdamW's


def test_muon_solves_an_ill_conditioned_least_squares_problem():
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(256, 32, generator=generator) * torch.logspace(0, -2, 32)
    wanted = torch.randn(32, 16, generator=generator)
    matrix = nn.Parameter(torch.zeros(32, 16))
    optimiser = Muon([matrix], lr=0.2)
    for step in range(300):
        optimiser.param_groups[0]["lr"] = 0.2 * (1 - step / 300)
        optimiser.zero_grad()
        loss = (inputs @ (matrix - wanted)).square().mean()
        loss.backward()
        optimiser.step()
    assert loss < 1e-3 * (inputs @ wanted).square().mean()


def test_every_parameter_has_one_optimiser_and_vectors_are_not_decayed():
    network = tiny_potential()
    wide = nn.ModuleList([network, nn.Linear(16, 32)])
    for name, count in (("adamw", 1), ("muon", 2)):
        made = make_optimisers(wide, config(name))
        assert len(made) == count
        groups = [group for optimiser in made for group in optimiser.param_groups]
        held = [id(value) for group in groups for value in group["params"]]
        assert sorted(held) == sorted(id(value) for value in wide.parameters())
        assert all(group["weight_decay"] == 0 for group in groups for value in group["params"] if value.dim() < 2)
    matrices = {tuple(value.shape) for value in made[1].param_groups[0]["params"]}
    assert (32, 16) in matrices
    assert (104, 8) not in matrices  # the embedding of elements


def test_unknown_optimiser_lists_the_choices():
    with pytest.raises(UnknownNameError, match=r"'sgd'.*adamw, muon"):
        make_optimisers(tiny_potential(), config("sgd"))
