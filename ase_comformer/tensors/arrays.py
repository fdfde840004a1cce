"""Small helpers that let one function body serve numpy arrays and torch tensors."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch

Array = TypeVar("Array", np.ndarray, torch.Tensor)


def floating(tensor: Any) -> Any:
    """Floating numpy array or torch tensor of the same dtype; integers, numbers and lists become float64."""
    if isinstance(tensor, torch.Tensor):
        return tensor if tensor.is_floating_point() else tensor.to(torch.float64)
    array = np.asarray(tensor)
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)


def like(constant: Any, tensor: Array) -> Array:
    """``constant`` in the library, dtype and device of ``tensor``."""
    if isinstance(tensor, torch.Tensor):
        return torch.as_tensor(constant, dtype=tensor.dtype, device=tensor.device)
    if isinstance(constant, torch.Tensor):
        constant = constant.cpu().numpy()  # raises if it needs a gradient: nothing is dropped silently
    return np.asarray(constant, dtype=tensor.dtype)


def check_trailing(tensor: Any, shape: tuple[int, ...], what: str) -> None:
    """Raise ``ValueError`` unless the last axes of ``tensor`` have ``shape``."""
    if len(shape) and tuple(tensor.shape[-len(shape) :]) != shape:
        raise ValueError(f"{what} must end in axes of shape {shape}, got an array of shape {tuple(tensor.shape)}")
