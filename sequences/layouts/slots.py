"""What a layout allows at each position, and the parts that layouts are joined from."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...tokenizer.wording import shown
from ..modality import Modality


class Grid(NamedTuple):
    """Rows and columns of the tokens of an image."""

    y: int
    x: int

    def __str__(self) -> str:
        return f"{self.y} x {self.x}"


class Slots(NamedTuple):
    """The positions of a sequence, `n` each, int64."""

    first: Tensor
    """The lowest id that is allowed."""
    size: Tensor
    """How many ids are allowed: 1 for structure."""
    source: Tensor
    """Index into the flattened tokens of the image; -1 for structure."""

    @property
    def header_length(self) -> int:
        """How many positions come before the first code."""
        return int((self.source >= 0).int().argmax())


def structure(ids: Sequence[int]) -> Slots:
    """Return the slots of ids that are always the same."""
    first = torch.tensor(ids, dtype=torch.int64)
    return Slots(first, torch.ones_like(first), torch.full_like(first, -1))


def codes(modality: Modality, source: Tensor, codebook: Tensor) -> Slots:
    """Return the slots of codes from their index in the flattened tokens and their codebook, both of one shape."""
    first = torch.tensor(modality.offsets)[codebook].flatten()
    return Slots(first, torch.full_like(first, modality.size), source.flatten())


def joined(parts: Sequence[Slots]) -> Slots:
    """Return slots one after another."""
    first, size, source = (torch.cat(fields) for fields in zip(*parts, strict=True))
    return Slots(first, size, source)


def check_grid(grid: Any) -> Grid:
    """Return a grid; raise ValueError unless it has a row and a column at least."""
    if not (isinstance(grid, tuple) and len(grid) == 2 and all(isinstance(side, int) and side > 0 for side in grid)):
        given = shown(tuple(grid) if isinstance(grid, tuple) else grid)
        raise ValueError(f"The grid is {given}, but must be Grid(y, x) with at least one row and one column.")
    return Grid(*grid)
