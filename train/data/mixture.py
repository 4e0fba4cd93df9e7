"""Which image stands at which position of a run."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

BLOCK = 4096
"""Positions over which the shares of the sources hold exactly."""


class Place(NamedTuple):
    """What stands at one position of a run."""

    source: int
    image: int


class Mixture:
    """Which image stands at which position: sources in their shares, each source shuffled anew every epoch."""

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], seed: int):
        self.sizes = sizes
        self.seed = seed
        edges = np.round(np.cumsum(weights) / np.sum(weights) * BLOCK).astype(int)
        self.quotas = np.diff(edges, prepend=0)

    # Caches are made where they are used: workers that are spawned get the rest of the object, but could not get these.
    @functools.cached_property
    def _block(self) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
        return functools.lru_cache(maxsize=4)(self._draw_block)

    @functools.cached_property
    def _epoch(self) -> Callable[[int, int], np.ndarray]:
        return functools.lru_cache(maxsize=4 * len(self.sizes))(self._draw_epoch)

    def place(self, position: int) -> Place:
        """Return the source and image at a position, counted from 0."""
        block, within = divmod(position, BLOCK)
        sources, ranks = self._block(block)
        source = int(sources[within])
        epoch, slot = divmod(block * int(self.quotas[source]) + int(ranks[within]), self.sizes[source])
        return Place(source, int(self._epoch(source, epoch)[slot]))

    def _draw_block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        sources = np.repeat(np.arange(len(self.sizes)), self.quotas)
        np.random.default_rng([self.seed, 0, block]).shuffle(sources)
        ranks = np.empty(BLOCK, dtype=int)
        for source in range(len(self.sizes)):
            chosen = sources == source
            ranks[chosen] = np.arange(chosen.sum())
        return sources, ranks

    def _draw_epoch(self, source: int, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 1, source, epoch]).permutation(self.sizes[source])
