"""The optimisers of a run: AdamW, or Muon for the matrices of hidden layers and AdamW for all else.

Muon takes steps of equal size along all singular directions of a matrix (Jordan et al. 2024,
https://kellerjordan.github.io/posts/muon); its scale here matches AdamW's, so that both share one learning rate (Liu
et al. 2025, arXiv:2502.16982, eq. 4). ``torch.optim.Muon`` orthogonalises in bfloat16, which a CPU emulates slowly;
here it is float32.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ase_comformer.errors import UnknownNameError
from ase_comformer.training.config import TrainingConfig

#: Smaller matrices (radial bases, last layers) have too few directions to balance.
_SMALLEST_SIDE = 16
#: Coefficients of the quintic iteration (Jordan et al.), and how often it is applied.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


def make_optimisers(network: nn.Module, config: TrainingConfig) -> list[torch.optim.Optimizer]:
    """Optimisers that together hold all parameters of ``network``; vectors are not decayed.

    Raises:
        UnknownNameError: ``config.optimiser`` is neither "adamw" nor "muon".
    """
    if config.optimiser not in ("adamw", "muon"):
        raise UnknownNameError(f"unknown optimiser {config.optimiser!r}: choose from adamw, muon")
    matrices = _hidden_matrices(network) if config.optimiser == "muon" else []
    chosen = {id(value) for value in matrices}
    rest = [value for value in network.parameters() if id(value) not in chosen]
    groups: list[dict[str, Any]] = [
        {"params": [value for value in rest if value.dim() > 1]},
        {"params": [value for value in rest if value.dim() <= 1], "weight_decay": 0.0},
    ]
    # fused: one kernel for all parameters, a sixth of the time on a CPU
    on_gpu = next(network.parameters()).is_cuda
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            groups, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True, capturable=on_gpu
        )
    ]
    if matrices:
        made.append(Muon(matrices, lr=config.learning_rate, weight_decay=config.weight_decay))
    return made


def _hidden_matrices(network: nn.Module) -> list[Tensor]:
    layers = (module for module in network.modules() if isinstance(module, nn.Linear))
    return [layer.weight for layer in layers if min(layer.weight.shape) >= _SMALLEST_SIDE]


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised; see the module docstring.

    Args:
        parameters: matrices.
        lr: learning rate of an AdamW that takes steps of the same size.
        weight_decay: per step and learning rate, decoupled.
        momentum: of the gradient's moving average; Nesterov's form.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, weight_decay: float = 0.0, momentum: float = 0.95
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; matrices without gradient stay. ``closure`` is not supported."""
        if closure is not None:
            raise NotImplementedError("Muon evaluates no closure: call backward before step()")
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape.setdefault(matrix.shape, []).append((matrix, matrix.grad))
            # matrices of one shape together: those of a potential have 9 shapes, so 9 times a few kernels instead of 23
            for shape, members in by_shape.items():
                matrices, gradients = ([pair[side] for pair in members] for side in (0, 1))
                averages = [self._average_of(matrix) for matrix in matrices]
                torch._foreach_lerp_(averages, gradients, 1 - momentum)
                moved = torch._foreach_lerp(gradients, averages, momentum)
                steps = orthogonalised(torch.stack(moved)) * (-0.2 * math.sqrt(max(shape)) * rate)
                torch._foreach_mul_(matrices, 1 - rate * group["weight_decay"])
                torch._foreach_add_(matrices, list(steps.unbind()))

    def _average_of(self, matrix: Tensor) -> Tensor:
        state = self.state[matrix]
        if not state:
            state["average"] = torch.zeros_like(matrix)
        average: Tensor = state["average"]
        return average


def orthogonalised(matrices: Tensor) -> Tensor:
    """(k, n, m) with the same singular vectors, singular values brought near one (0.7 to 1.2)."""
    is_wide = matrices.shape[1] <= matrices.shape[2]
    wide = matrices if is_wide else matrices.mT
    wide = wide / torch.linalg.matrix_norm(wide, keepdim=True).clamp(min=1e-7)
    first, second, third = _QUINTIC
    for _ in range(_ITERATIONS):
        gram = wide @ wide.mT
        wide = torch.baddbmm(wide, torch.baddbmm(gram, gram, gram, beta=second, alpha=third), wide, beta=first)
    return wide if is_wide else wide.mT
