"""What codebooks see in a forward, and how they learn from it without gradients."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch

from ..shapes import CodeIndices, Vectors


class Observation(NamedTuple):
    """Vectors that a codebook compared, and the index of the code that each got."""

    observe: Callable[[Vectors, CodeIndices], None]
    """The codebook's method that updates its codes from these, in place."""
    vectors: Vectors
    indices: CodeIndices


def observe_once(seen: Iterable[Observation]) -> None:
    """Let each codebook observe its vectors once, however many levels, groups or scales share it."""
    by_codebook: dict[Callable[[Vectors, CodeIndices], None], list[Observation]] = {}
    for observation in seen:
        by_codebook.setdefault(observation.observe, []).append(observation)
    for observe, same in by_codebook.items():
        observe(
            torch.cat([observation.vectors.detach() for observation in same]),
            torch.cat([observation.indices for observation in same]),
        )
