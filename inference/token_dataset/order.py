"""The order of a stream's rows: drawn from a seed, split without remainder, and entered at any point. Numbers alone.

Everything is drawn from the raw output of numpy's Philox generator, which no version changes.
"""

import hashlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

DRAWN = 1024
"""Numbers that are drawn at a time."""


def generator(*what: object) -> np.random.Philox:
    """Return a generator of its own for each `what`, such as a seed and an epoch."""
    key = int.from_bytes(hashlib.blake2b(repr(what).encode(), digest_size=16).digest(), "little")
    return np.random.Philox(key=key)


def permutation(count: int, *what: object) -> np.ndarray:
    """Return the numbers below `count`, shuffled."""
    return np.argsort(generator(*what).random_raw(count), kind="stable")


def draws(*what: object) -> Iterator[int]:
    """Yield numbers of 64 bits."""
    source = generator(*what)
    while True:
        yield from source.random_raw(DRAWN).tolist()


def part(whole: range, index: int, parts: int) -> range:
    """Return one of the parts that follow one another; their lengths differ by 1 at most, the longer ones first."""
    length, longer = divmod(len(whole), parts)
    first = index * length + min(index, longer)
    return whole[first : first + length + (index < longer)]


class BufferedOrder:
    """The positions below `count` as they leave a buffer of `size` that they enter in order; in order for 0 and 1."""

    def __init__(self, count: int, size: int, numbers: Iterator[int]):
        self._count = count
        self._numbers = numbers
        self._buffer = list(range(min(max(1, size), count)))
        self._entered = len(self._buffer)

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        """Return the next position."""
        buffer = self._buffer
        if not buffer:
            raise StopIteration
        slot = next(self._numbers) % len(buffer) if len(buffer) > 1 else 0
        position = buffer[slot]
        if self._entered < self._count:
            buffer[slot] = self._entered
            self._entered += 1
        else:
            buffer[slot] = buffer[-1]
            buffer.pop()
        return position

    def skip(self, number: int) -> None:
        """Pass some positions."""
        for _ in zip(range(number), self, strict=False):
            pass

    def missing(self) -> Callable[[int], bool]:
        """Return what tells whether a position is to come, as of now."""
        waiting, entered = set(self._buffer), self._entered
        return lambda position: position >= entered or position in waiting

    def first_missing(self) -> int:
        """Return the first position that is to come, `count` when none is."""
        return min(self._buffer, default=self._count)


class Segment(NamedTuple):
    """Neighbouring rows of a shard."""

    shard: int
    first: int
    last: int
    """The index of the first row after them."""


class ShardOrder:
    """All rows of a folder in one order, shard by shard: position 0 is the first row of the first shard."""

    def __init__(self, rows: np.ndarray, shards: np.ndarray):
        """Take the rows of each shard, and the shards in their order."""
        self._shards = shards
        self._ends = np.cumsum(rows[shards])
        self._rows = rows

    def segments(self, positions: range) -> Iterator[Segment]:
        """Yield where neighbouring positions are; behind the last row comes the first again."""
        at, total = positions.start, int(self._ends[-1])
        while at < positions.stop:
            inside = at % total
            index = int(np.searchsorted(self._ends, inside, "right"))
            shard = int(self._shards[index])
            first = inside - int(self._ends[index]) + int(self._rows[shard])
            count = min(int(self._rows[shard]) - first, positions.stop - at)
            yield Segment(shard, first, first + count)
            at += count
