"""Where chunks are computed: in this process, in several of this machine, or on a Dask cluster.

Each place is a context that hands out ``submit(function, *arguments) -> Future`` and survives the death of a worker:
the future then fails with ``WorkerDiedError``, and the next ``submit`` works again. Dask itself moves the work of a
dead worker to another one a few times before it gives up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from typing import Any

from ase_comformer.errors import UnknownNameError

#: Whom a scheduler of our own listens to.
HOST = "127.0.0.1"
_MISSING = "dask.distributed is not installed. Install the extra: pip install 'ase-comformer[screen]'."

Submit = Callable[..., "Future[Any]"]


class WorkerDiedError(RuntimeError):
    """The process that computed a chunk is gone: killed, out of memory, or crashed."""


@contextlib.contextmanager
def place(workers: int, scheduler: str | None, host: str = HOST) -> Iterator[Submit]:
    """Open the place where chunks are computed.

    Args:
        workers: processes of this machine; one computes here. Of a scheduler with an address: not read.
        scheduler: None; "local" for a Dask cluster of this machine; or the address of a Dask scheduler.
        host: address that the scheduler of "local" binds to.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}.")
    if scheduler is not None:
        with _dask(workers, scheduler, host) as submit:
            yield submit
    elif workers == 1:
        yield _here
    else:
        processes = _Processes(workers)
        try:
            yield processes.submit
        finally:
            processes.close()


def _here(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
    future: Future[Any] = Future()
    try:
        future.set_result(function(*arguments))
    except Exception as error:
        future.set_exception(error)
    return future


def _with_one_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a worker, which shares the machine with others and so computes with one thread."""
    import torch

    torch.set_num_threads(1)
    return function(*arguments)


class _Processes:
    """A pool of processes that is replaced when one of them has died."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool = self._new()

    def _new(self) -> ProcessPoolExecutor:
        from multiprocessing import get_context

        return ProcessPoolExecutor(self._workers, mp_context=get_context("spawn"))

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        try:
            inner = self._pool.submit(_with_one_thread, function, *arguments)
        except BrokenExecutor:
            self.close()
            self._pool = self._new()
            inner = self._pool.submit(_with_one_thread, function, *arguments)
        outer: Future[Any] = Future()
        inner.add_done_callback(lambda done: _pass_on(done, outer))
        return outer

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _pass_on(done: Future[Any], outer: Future[Any]) -> None:
    if done.cancelled():
        outer.set_exception(WorkerDiedError("the pool of processes was closed"))
        return
    error = done.exception()
    if isinstance(error, BrokenExecutor):
        outer.set_exception(WorkerDiedError(str(error)))
    elif error is not None:
        outer.set_exception(error)
    else:
        outer.set_result(done.result())


@contextlib.contextmanager
def _dask(workers: int, scheduler: str, host: str) -> Iterator[Submit]:
    try:
        from distributed import Client, KilledWorker, LocalCluster
    except ImportError as error:
        raise ImportError(_MISSING) from error
    if scheduler != "local" and "://" not in scheduler:
        raise UnknownNameError(
            f"Unknown scheduler {scheduler!r}. Give 'local', or the address of a Dask scheduler such as "
            "tcp://127.0.0.1:8786."
        )
    with contextlib.ExitStack() as stack:
        if scheduler == "local":
            cluster = LocalCluster(n_workers=workers, threads_per_worker=1, host=host, dashboard_address=None)
            stack.enter_context(cluster)
            client = stack.enter_context(Client(cluster))
        else:
            client = stack.enter_context(Client(scheduler, timeout="30s"))

        def submit(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
            outer: Future[Any] = Future()

            def pass_on(done: Any) -> None:
                if done.status == "finished":
                    outer.set_result(done.result())
                    return
                error = done.exception() if done.status == "error" else None
                dead = error is None or isinstance(error, KilledWorker)
                outer.set_exception(WorkerDiedError(f"{error or done.status}") if dead else error)

            client.submit(_with_one_thread, function, *arguments, pure=False).add_done_callback(pass_on)
            return outer

        yield submit
