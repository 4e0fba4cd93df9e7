"""The order in which a run draws images from its sources."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

BLOCK = 4096
"""Positions over which the weights of the sources hold exactly."""


class Draw(NamedTuple):
    """The image drawn at one position of a run."""

    source: int
    """Index of the source."""
    image: int
    """Index of the image in its source."""


class SamplingOrder:
    """Maps positions to images: sources follow their weights, and each is shuffled again every epoch."""

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], seed: int):
        self.sizes = sizes
        self.weights = weights
        self.seed = seed
        self._block = functools.lru_cache(maxsize=4)(self._shuffle_block)
        self._epoch = functools.lru_cache(maxsize=4 * len(sizes))(self._shuffle_epoch)
        edges = np.round(np.cumsum(weights) / np.sum(weights) * BLOCK).astype(int)
        self.quotas = np.diff(edges, prepend=0)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the caches, which spawned workers begin anew."""
        return SamplingOrder, (self.sizes, self.weights, self.seed)

    def at(self, position: int) -> Draw:
        """Return the image at a position, counted from 0: a pure function of the seed and the position."""
        block, within = divmod(position, BLOCK)
        sources, ranks = self._block(block)
        source = int(sources[within])
        epoch, index = divmod(block * int(self.quotas[source]) + int(ranks[within]), self.sizes[source])
        return Draw(source, int(self._epoch(source, epoch)[index]))

    def replacement(self, position: int, attempt: int) -> Draw:
        """Return the image of the same source to try at a position after `attempt` images there could not be read."""
        source = self.at(position).source
        generator = np.random.default_rng([self.seed, 3, position, attempt])
        return Draw(source, int(generator.integers(self.sizes[source])))

    def _shuffle_block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        sources = np.repeat(np.arange(len(self.sizes)), self.quotas)
        np.random.default_rng([self.seed, 0, block]).shuffle(sources)
        ranks = np.empty(BLOCK, dtype=int)
        for source in range(len(self.sizes)):
            chosen = sources == source
            ranks[chosen] = np.arange(chosen.sum())
        return sources, ranks

    def _shuffle_epoch(self, source: int, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 1, source, epoch]).permutation(self.sizes[source])
