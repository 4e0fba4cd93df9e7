"""Grids that are given, one for each prompt: nothing here waits for the device."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..layouts import Grid, Layout
from .marks import Place, marks_of
from .masks import Inside, Ranges


class Tables(NamedTuple):
    """The slots of all grids, one grid after another, and which of them each prompt has."""

    first: Tensor
    end: Tensor
    offsets: Tensor
    lengths: Tensor
    of_prompts: Tensor


class FixedGrids:
    """What is allowed at each position of images whose grids are known: one for all rows, or one for each prompt."""

    def __init__(self, layout: Layout, grids: Sequence[Grid]):
        self.layout = layout
        self.grids = tuple(grids)
        self.kinds = tuple(dict.fromkeys(self.grids))
        self.marks = marks_of(layout, self.kinds)
        self._tables: dict[torch.device, Tables] = {}

    def inside(self, ids: Tensor, place: Place, _size: int) -> Inside:
        """Return what comes next in the images of ids `b n`."""
        return self.at(ids.shape[1] - place.first, len(ids))

    def at(self, positions: Tensor, rows: int) -> Inside:
        """Return what is allowed at positions of images, `b` or `1`; beyond an image, what is at its end."""
        tables = self._on(positions.device)
        kinds = self._of_rows(tables, rows)
        lengths = tables.lengths[kinds]
        index = tables.offsets[kinds] + positions.clamp(min=0).minimum(lengths - 1)
        return Inside(Ranges(tables.first[index], tables.end[index]), lengths)

    def check(self, ids: Tensor, place: Place) -> None:
        """Raise ValueError when an image that ids `b n` leave unfinished is not of its grid; waits for the device."""
        kinds = self._of_rows(self._on(ids.device), len(ids)).expand(len(ids)).tolist()
        for row, (first, ended) in enumerate(torch.stack([place.first, place.ended.long()], dim=1).tolist()):
            if first >= 0 and not ended:
                self._check_image(row, ids[row, first:].cpu(), self.kinds[kinds[row]])

    def highest(self, position: int) -> int:
        """Return the highest id that may come at a position of an image or later in it."""
        slots = [self.layout.slots(grid) for grid in self.kinds]
        return max(int((part.first + part.size)[min(position, len(part.first) - 1) :].max()) - 1 for part in slots)

    def _check_image(self, row: int, ids: Tensor, grid: Grid) -> None:
        slots = self.layout.slots(grid)
        ids = ids[: len(slots.first)]
        wrong = slots.forbids(ids)
        if wrong.any():
            position = int(wrong.int().argmax())
            raise ValueError(
                f"Row {row} has the id {int(ids[position])} at position {position} of its image, where the layout "
                f"{self.layout.name} has {slots.allowed(position)} for a grid of {grid}: give "
                "the grid of that image, or a prompt without it."
            )

    def _of_rows(self, tables: Tables, rows: int) -> Tensor:
        """Return which of the kinds of grids each row has, `b`, or `1` when all have one: rows of a prompt are neighbours."""
        if len(self.kinds) == 1:
            return tables.of_prompts[:1]
        return tables.of_prompts.repeat_interleave(rows // len(self.grids))

    def _on(self, device: torch.device) -> Tables:
        if device not in self._tables:
            slots = [self.layout.slots(grid) for grid in self.kinds]
            lengths = torch.tensor([len(part.first) for part in slots])
            tables = Tables(
                torch.cat([part.first for part in slots]),
                torch.cat([part.first + part.size for part in slots]),
                lengths.cumsum(0) - lengths,
                lengths,
                torch.tensor([self.kinds.index(grid) for grid in self.grids]),
            )
            self._tables[device] = Tables(*(part.to(device) for part in tables))
        return self._tables[device]
