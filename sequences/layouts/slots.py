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

    def forbids(self, ids: Tensor) -> Tensor:
        """Return which of the first ids of an image `... n` are not allowed where they are."""
        first, size = self.first[: ids.shape[-1]], self.size[: ids.shape[-1]]
        return (ids < first) | (ids >= first + size)

    def allowed(self, position: int) -> str:
        """Return which ids are allowed at a position, for people: "7", or "7 to 9"."""
        first, size = int(self.first[position]), int(self.size[position])
        return str(first) if size == 1 else f"{first} to {first + size - 1}"

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


def check_integers(name: str, values: Any, lowest: int, what: str) -> tuple[int, ...]:
    """Return the integers of an option; raise ValueError, with what they must be, unless each is `lowest` or more."""
    is_list = isinstance(values, Sequence) and not isinstance(values, str)
    if not (is_list and values and all(type(value) is int and value >= lowest for value in values)):
        raise ValueError(f"{name} are {shown(list(values) if is_list else values)}, but must be {what}.")
    return tuple(values)


def check_grid(grid: Any) -> Grid:
    """Return a grid; raise ValueError unless it has a row and a column at least."""
    if not (isinstance(grid, tuple) and len(grid) == 2 and all(isinstance(side, int) and side > 0 for side in grid)):
        given = shown(tuple(grid) if isinstance(grid, tuple) else grid)
        raise ValueError(f"The grid is {given}, but must be Grid(y, x) with at least one row and one column.")
    return Grid(*grid)
