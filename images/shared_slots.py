"""Memory that processes share, in slots of one size: pixels of one process are read by another without a copy."""

import mmap
import os
import weakref

import numpy as np

from ..tokenizer.system import anonymous_file


class SharedSlots:
    """Slots of anonymous memory; a process that is given `descriptor` maps the same memory.

    It has no name, so nothing of it stays behind, however the processes end, and no limit of /dev/shm applies. The system
    provides memory only for the slots that were written.
    """

    def __init__(self, slot_bytes: int, count: int):
        self.slot_bytes = slot_bytes
        self.size = slot_bytes * count
        self.descriptor = anonymous_file(self.size)
        self._close = weakref.finalize(self, os.close, self.descriptor)
        self._memory = mmap.mmap(self.descriptor, self.size)
        self._free = list(range(count))  # the last one first, which keeps the written slots few

    def take(self) -> int | None:
        """Return the index of a free slot, or None when there is none. Thread-safe."""
        try:
            return self._free.pop()
        except IndexError:
            return None

    def give_back(self, index: int | None) -> None:
        """Free a slot. Thread-safe."""
        if index is not None:
            self._free.append(index)

    def pixels(self, index: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return the uint8 content of a slot that was taken; it is free again once the array and its views are gone."""
        array = np.frombuffer(self._memory, np.uint8, int(np.prod(shape)), index * self.slot_bytes)
        weakref.finalize(array, self.give_back, index).atexit = False  # views hold on to this array
        return array.reshape(shape)

    def close(self) -> None:
        """Close the descriptor, once; the memory goes with the last array and the last process that has it."""
        self._close()
