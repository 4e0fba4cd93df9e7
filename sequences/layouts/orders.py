"""In which order the codes of an image come."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..modality import Modality
from .slots import Grid, Slots, codes, structure


def interleaved(modality: Modality, grid: Grid) -> Slots:
    """Return position after position, row by row, with the codes of all codebooks together at each."""
    source, codebook = _indices(modality, grid)
    return codes(modality, source.T, codebook.T)


def flattened(modality: Modality, grid: Grid) -> Slots:
    """Return codebook after codebook, each row by row."""
    return codes(modality, *_indices(modality, grid))


def rows(modality: Modality, row_end: int, last_row_end: bool, grid: Grid) -> Slots:
    """Return row after row of one codebook, each with a row end after it; the last one if `last_row_end`."""
    inside = interleaved(modality, grid)
    ends = structure([row_end] * grid.y)
    first, size, source = (
        torch.cat([part.reshape(grid), end[:, None]], dim=1).flatten() for part, end in zip(inside, ends, strict=True)
    )
    length = len(first) - (not last_row_end)
    return Slots(first[:length], size[:length], source[:length])


def delayed(modality: Modality, pad: int, grid: Grid) -> Slots:
    """Return step after step of all codebooks, each codebook one step behind the one before it; pad where it has no code."""
    source, codebook = _indices(modality, grid)
    count, area = source.shape
    step = torch.arange(area + count - 1)[:, None]
    position = step - torch.arange(count)
    inside = (0 <= position) & (position < area)
    slots = codes(modality, position + area * torch.arange(count), codebook[:, :1].T.expand_as(position))
    inside = inside.flatten()
    return Slots(
        torch.where(inside, slots.first, pad),
        torch.where(inside, slots.size, 1),
        torch.where(inside, slots.source, -1),
    )


@dataclass(frozen=True)
class InOrder:
    """The codes of one codebook in the order of the symbols, as many as a function of the grid says."""

    modality: Modality
    count: Callable[[Grid], int]

    def __call__(self, grid: Grid) -> Slots:
        source = torch.arange(self.count(grid))
        return codes(self.modality, source, torch.zeros_like(source))


def _indices(modality: Modality, grid: Grid) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the index of each token and its codebook, `q (y x)`."""
    count, area = modality.num_codebooks, grid.y * grid.x
    source = torch.arange(count * area).reshape(count, area)
    return source, torch.arange(count)[:, None].expand(count, area)
