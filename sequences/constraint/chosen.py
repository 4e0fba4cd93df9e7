"""Grids that the model chooses: it writes the grid itself, and only what begins an allowed one passes."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ...tokenizer.wording import list_first
from ..layouts import Grid, Layout
from .marks import Place, marks_of
from .masks import Inside, Ranges, union_mask
from .openings import read_headers, read_openings

UNKNOWN = 2**40
"""Length of an image whose grid is not written yet."""
SHOWN = 4


class Next(NamedTuple):
    """What comes next in one row: a range of ids in an image of known length, or one of several grids."""

    first: int = 0
    end: int = 0
    length: int = UNKNOWN
    choosing: bool = False


class ChosenGrids:
    """What is allowed next in images of any of several grids, as far as the ids leave them open.

    With `skip`, grids that the layout cannot write are left out. The host waits for the device once a step, to know which grid
    each row has written.
    """

    def __init__(self, layout: Layout, grids: Iterable[Grid], skip: bool = False):
        headers = read_headers(layout, grids, skip)
        if not headers:
            raise ValueError(
                f"No grid is allowed that the layout {layout.name} can write: give other choices, or a larger max_grid."
            )
        self.layout = layout
        self.grids = tuple(headers)
        self._openings = read_openings(layout, headers)
        self.marks = marks_of(layout, (self.grids[0], self.grids[-1]))

    def inside(self, ids: Tensor, place: Place, size: int) -> Inside:
        """Return what comes next in the images of ids `b n`, as ranges of `size` ids."""
        fits = self._fits(ids, place)
        positions = ids.shape[1] - place.first
        unfinished = (place.first >= 0) & ~place.ended
        rows = torch.stack([positions, unfinished.long(), fits.sum(1), fits.long().argmax(1)], dim=1).tolist()
        each = [self._next(*row) for row in rows]
        first, end, lengths, choosing = torch.tensor(each, device=ids.device).T
        inside = Inside(Ranges(first, end), lengths)
        if not any(row.choosing for row in each):
            return inside
        column = positions.clamp(0, self._openings.first.shape[1] - 1)
        starts, ends = (part[:, column].T for part in self._openings)
        chooses = choosing > 0
        return inside._replace(choosing=chooses, open_to=union_mask(starts, ends, fits & chooses[:, None], size))

    def check(self, ids: Tensor, place: Place) -> None:
        """Raise ValueError when an image that ids `b n` leave unfinished is of none of the grids; waits for the device."""
        none = ((place.first >= 0) & ~place.ended & ~self._fits(ids, place).any(1)).tolist()
        if any(none):
            row = none.index(True)
            allowed = list_first([str(grid) for grid in self.grids], SHOWN)
            raise ValueError(
                f"Row {row} begins an image {self._told(ids[row, int(place.first[row]) :])}, but the grids that are allowed "
                f"are {allowed}: allow its grid too, or give a prompt without it."
            )

    def _told(self, image: Tensor) -> str:
        try:
            return f"of a grid of {self.layout.read_grid(image)}"
        except ValueError:
            return f"with the ids {list_first([str(number) for number in image.tolist()], SHOWN)}"

    def _fits(self, ids: Tensor, place: Place) -> Tensor:
        """Return which grids the ids of each row's last image leave open, boolean `b g`."""
        self._openings = openings = self._openings.to(ids.device)
        width = min(openings.first.shape[1], ids.shape[1])
        index = place.first[:, None] + torch.arange(width, device=ids.device)
        written = ids.gather(1, index.clamp(0, ids.shape[1] - 1))[:, None]
        beyond = (index < 0) | (index >= ids.shape[1])
        between = (written >= openings.first[:, :width]) & (written < openings.end[:, :width])
        return (between | beyond[:, None]).all(-1)

    def _next(self, position: int, unfinished: int, count: int, index: int) -> Next:
        if not unfinished or count == 0:
            return Next()
        if count > 1:
            return Next(choosing=True)
        slots = self.layout.slots(self.grids[index])
        last = min(position, len(slots.first) - 1)
        first = int(slots.first[last])
        return Next(first, first + int(slots.size[last]), len(slots.first))
