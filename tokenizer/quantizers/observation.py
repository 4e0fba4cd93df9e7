"""What codebooks see in a forward, and how they learn from it without gradients."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import torch

from ..shapes import CodeIndices, Vectors


class Observer(Protocol):
    """A codebook that updates itself from the vectors it is given."""

    def observe(self, vectors: Vectors, indices: CodeIndices) -> None:
        """Update the codes, in place."""


class Observation(NamedTuple):
    """Vectors that a codebook compared, and the index of the code that each got."""

    observer: Observer
    vectors: Vectors
    indices: CodeIndices


def observe_once(seen: Iterable[Observation]) -> None:
    """Let each codebook observe its vectors once, however many levels, groups or scales share it."""
    by_observer: dict[int, list[Observation]] = {}
    for observation in seen:
        by_observer.setdefault(id(observation.observer), []).append(observation)
    for same in by_observer.values():
        same[0].observer.observe(
            torch.cat([observation.vectors.detach() for observation in same]),
            torch.cat([observation.indices for observation in same]),
        )
