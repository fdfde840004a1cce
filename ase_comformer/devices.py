"""Names of devices and precisions -> torch objects, checked; shelter from a foreign default device; threads."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ase_comformer.errors import UnknownNameError

logger = logging.getLogger(__name__)

#: Process in which this module was imported; another one that runs it is a fork.
_IMPORTED_IN = os.getpid()
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


def resolve_device(device: str) -> torch.device:
    """``"auto"`` -> CUDA if available, else CPU; other names are checked (:class:`UnknownNameError`)."""
    one_thread_after_fork()  # before parameters are loaded
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


@contextlib.contextmanager
def shielded_device(device: str) -> Iterator[None]:
    """Make new tensors on ``device``, in their own precision, whatever surrounds the caller.

    ``torch.set_default_device`` and ``torch.autocast`` would change results: both are off for the calling thread.
    """
    one_thread_after_fork()
    with contextlib.ExitStack() as stack:
        if torch.get_default_device() != torch.device(device):
            stack.enter_context(torch.device(device))
        for autocast in ("cpu", "cuda"):
            if torch.is_autocast_enabled(autocast):
                stack.enter_context(torch.autocast(autocast, enabled=False))
        yield


@functools.cache
def _thread_setters() -> tuple[Callable[[int], Any], Callable[[int], int]] | None:
    """OpenMP's and MKL's functions that set the number of threads of the calling thread; None where there are none.

    ``torch.set_num_threads`` would do for the caller, but it sets the process too: a thread whose first work with torch
    falls into that time keeps the number for good.
    """
    try:
        library = ctypes.CDLL(torch._C.__file__)
        openmp = library.omp_set_num_threads
    except (OSError, AttributeError):
        return None
    openmp.restype = None
    mkl = getattr(library, "MKL_Set_Num_Threads_Local", None)  # absent from builds with another BLAS
    return openmp, mkl if mkl is not None else lambda number: number


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """Compute with one thread what is too small to share; other threads of the process are left alone."""
    threads, setters = torch.get_num_threads(), _thread_setters()
    if threads == 1 or setters is None:
        yield
        return
    openmp, mkl = setters
    openmp(1)
    previous = mkl(1)
    try:
        yield
    finally:
        openmp(threads)
        mkl(previous)


def one_thread_after_fork() -> None:
    """Set one thread where this process is a fork of the one that imported the package.

    OpenMP's threads do not survive a fork, and the copy would wait for them for ever.
    """
    if os.getpid() != _IMPORTED_IN and torch.get_num_threads() > 1:
        logger.info(
            "forked process: torch computes with one thread here, because OpenMP's threads do not survive a fork"
        )
        torch.set_num_threads(1)
