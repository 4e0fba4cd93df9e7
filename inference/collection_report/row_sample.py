"""A random sample of rows that does not depend on their order."""

import hashlib
import heapq
from typing import Any, NamedTuple

import numpy as np


class Row(NamedTuple):
    """A row of the sample."""

    shard: str
    key: str
    tokens: np.ndarray
    """`q y x`, all below the vocabulary's size."""
    metadata: dict[str, Any]


class RowSample:
    """The rows with the lowest random numbers, which follow from their names: the same ones in every call."""

    def __init__(self, size: int):
        self._size = size
        self._heap: list[tuple[int, int, Row]] = []
        self._seen = 0

    def add(self, row: Row) -> None:
        """Keep a row, or not."""
        self._seen += 1
        entry = (-random_order(row.shard, row.key), self._seen, row)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        elif self._heap and entry[0] > self._heap[0][0]:
            heapq.heapreplace(self._heap, entry)

    def rows(self) -> list[Row]:
        """Return the rows in a random order, so that the first ones are a sample too."""
        return [row for *_, row in sorted(self._heap, key=lambda entry: -entry[0])]


def random_order(shard: str, key: str = "") -> int:
    """Return a number that is random, but always the same for a row or a shard."""
    return int.from_bytes(hashlib.blake2b(f"{shard}\0{key}".encode(), digest_size=8).digest(), "big")
