"""Names of devices and precisions -> torch objects, checked; shelter from a foreign default device; threads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from ase_comformer.errors import UnknownNameError

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


def resolve_device(device: str) -> torch.device:
    """``"auto"`` -> CUDA if available, else CPU; other names are checked (:class:`UnknownNameError`)."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(1, device=resolved)
    except (RuntimeError, AssertionError, TypeError, ValueError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UnknownNameError(
            f"Device {device!r} cannot be used here ({reason}). Use 'auto', 'cpu' or an existing 'cuda:N'."
        ) from error
    if resolved.type == "meta":
        raise UnknownNameError("Device 'meta' holds no numbers. Use 'auto', 'cpu' or an existing 'cuda:N'.")
    return resolved


def resolve_dtype(dtype: str) -> torch.dtype:
    """``"float32"`` or ``"float64"`` -> torch dtype. Raises :class:`UnknownNameError`."""
    try:
        return _DTYPES[dtype]
    except (KeyError, TypeError):
        choices = ", ".join(_DTYPES)
        raise UnknownNameError(f"Unknown dtype {dtype!r}. Choose one of {choices} (a string).") from None


def shielded_device(device: str) -> contextlib.AbstractContextManager[Any]:
    """Make new tensors on ``device`` whatever ``torch.set_default_device`` says; free where it says the same."""
    if torch.get_default_device() == torch.device(device):
        return contextlib.nullcontext()
    return torch.device(device)


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """One thread of torch for work too small to share, as many as before afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
