"""A store that keeps what its most recent users remember, so that a thousand idle calculators cost nothing."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Maps tokens (anything hashable) to what their owners remember; the oldest are forgotten.

    Args:
        capacity: tokens whose memories are kept.

    Example:
        >>> store, first, second = Recent(1), object(), object()
        >>> store.of(first, list).append("kept")
        >>> store.of(first, list)
        ['kept']
        >>> store.of(second, list), store.of(first, list)
        ([], [])
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._kept: OrderedDict[object, T] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, token: object, fresh: Callable[[], T]) -> T:
        """Return what the owner of ``token`` remembers, or what ``fresh`` makes."""
        with self._lock:
            found = self._kept.pop(token, None)
            found = fresh() if found is None else found
            self._kept[token] = found
            self._trim()
        return found

    def get(self, token: object) -> T | None:
        """Return what the owner of ``token`` remembers, None where that was forgotten."""
        with self._lock:
            found = self._kept.get(token)
            if found is not None:
                self._kept.move_to_end(token)
            return found

    def put(self, token: object, value: T) -> None:
        """Remember ``value`` for the owner of ``token``."""
        with self._lock:
            self._kept.pop(token, None)
            self._kept[token] = value
            self._trim()

    def forget(self, token: object) -> None:
        """Drop what the owner of ``token`` remembers."""
        with self._lock:
            self._kept.pop(token, None)

    def _trim(self) -> None:
        while len(self._kept) > self.capacity:
            self._kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._kept)
