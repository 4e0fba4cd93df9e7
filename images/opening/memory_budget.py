"""Bound the memory that all threads of a process, and the processes that read for it, together use to decode images."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from ...tokenizer.system import after_fork_in_child, return_freed_memory

DECODING_BYTES = 3 << 30
"""The default, 3 GiB, is more than the largest image of any format needs.

Images that would exceed it together wait. Only decoding and preprocessing count; the C library may keep tens of MB of
freed memory for each thread.
"""
TRIM_FROM = 1 << 29
"""Bytes of an image from which the C library is told to return freed memory; it kept a gigabyte after such images."""


class MemoryBudget:
    """Lends bytes in the order of the requests, so that large images do not starve."""

    def __init__(self, total: int):
        self.total = total
        self.lend: Callable[[int], AbstractContextManager[None]] = self._lend
        """Lends what `hold` holds; a process that reads for another replaces it by one that asks that process."""
        self._reset()
        after_fork_in_child(self._reset)

    def take_part(self, processes: int) -> None:
        """Keep the part of one of several processes that read at a time; call it before images are read."""
        self.total //= processes
        self._reset()

    def _reset(self) -> None:
        self._free = self.total
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Wait for `amount` bytes, or for the whole budget if that is less, and return them at the end."""
        with self.lend(min(amount, self.total)):
            try:
                yield
            finally:
                if amount >= TRIM_FROM:
                    return_freed_memory()

    @contextmanager
    def _lend(self, amount: int) -> Iterator[None]:
        turn = object()
        changed = self._changed
        with changed:
            self._waiting.append(turn)
            try:
                changed.wait_for(lambda: self._waiting[0] is turn and self._free >= amount)
                self._free -= amount
            finally:
                self._waiting.remove(turn)
                changed.notify_all()
        try:
            yield
        finally:
            with changed:
                if changed is self._changed:  # not in a forked child, whose budget was reset
                    self._free += amount
                changed.notify_all()


BUDGET = MemoryBudget(DECODING_BYTES)
"""The budget of this process."""
