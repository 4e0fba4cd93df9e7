"""How much memory the images of a process take while they are decoded, all threads together."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from ...tokenizer.devices import after_fork_in_child, return_freed_memory

DECODING_BYTES = 3 << 30
"""Default bound for all threads of a process, 3 GiB: the largest image of any format needs less.

Images that would take more together wait for their turn. What is counted is decoding and the way to the pixels of one image;
the C library may keep some tens of MB of freed memory for each thread besides.
"""
TRIMMED_FROM = 1 << 29
"""Shares from which on the C library is asked to return what was freed: of such images it kept a gigabyte."""


class MemoryBudget:
    """Bytes that are lent in the order in which they were asked for, so that large images are not passed by for ever."""

    def __init__(self, total: int):
        self.total = total
        self._reset()
        after_fork_in_child(self._reset)

    def _reset(self) -> None:
        self._free = self.total
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Wait for `amount` bytes, or for all of them when it is more, and give them back at the end."""
        amount = min(amount, self.total)
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
            if amount >= TRIMMED_FROM:
                return_freed_memory()
            with changed:
                if changed is self._changed:  # not within a forked child, which began anew
                    self._free += amount
                changed.notify_all()


BUDGET = MemoryBudget(DECODING_BYTES)
"""The budget that all images of the process are decoded under."""
