"""What tells the grids of images apart: their headers, or all of their ids."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..layouts import Grid, Layout, Slots
from ..layouts.slots import check_grid

MAX_SLOTS = 2**20
ANY = 2**40
"""Behind an opening, all ids fit."""


class Openings(NamedTuple):
    """The first and the last id + 1 that are allowed at each position from the begin on, `g n`."""

    first: Tensor
    end: Tensor

    def to(self, device: torch.device) -> "Openings":
        """Return the openings on a device."""
        return Openings(self.first.to(device), self.end.to(device))


def read_headers(layout: Layout, grids: Iterable[Grid], skip: bool) -> dict[Grid, Slots]:
    """Return what each image has before its first code; grids that the layout cannot write are skipped, or are errors."""
    headers = {}
    for grid in grids:
        with suppress(ValueError) if skip else nullcontext():
            slots = layout.plan(check_grid(grid))
            headers[grid] = Slots(*(part[: slots.header_length].clone() for part in slots))
    return headers


def read_openings(layout: Layout, headers: Mapping[Grid, Slots]) -> Openings:
    """Return the headers of grids where these tell them apart, otherwise all of their slots.

    Raises ValueError when neither does, and when all slots are too many.
    """
    if _is_read(layout, list(headers)[-1]):
        for slots in (headers.values(), _few(layout, tuple(headers))):
            openings = [torch.stack([part.first, part.first + part.size], dim=1) for part in slots]
            if _tell_apart(openings):
                first = pad_sequence([part[:, 0] for part in openings], batch_first=True)
                end = pad_sequence([part[:, 1] for part in openings], batch_first=True, padding_value=ANY)
                return Openings(first, end)
    raise ValueError(
        f"The layout {layout.name} does not write the grid, so the model cannot choose it: give grid=Grid(y, x)."
    )


def _is_read(layout: Layout, grid: Grid) -> bool:
    """Return whether the ids of an image tell its grid."""
    image = layout.slots(grid).first
    try:
        return layout.read_grid(image) == grid
    except ValueError:
        return False


def _few(layout: Layout, grids: Sequence[Grid]) -> Iterable[Slots]:
    """Yield all slots of grids; raise ValueError when they are too many."""
    count = 0
    for slots in map(layout.plan, grids):
        count += len(slots.first)
        if count > MAX_SLOTS:
            raise ValueError(
                f"The layout {layout.name} does not begin with the grid, so all ids of the {len(grids)} grids that are allowed "
                f"must be compared, but these are more than {MAX_SLOTS}: allow fewer."
            )
        yield slots


def _tell_apart(openings: Sequence[Tensor]) -> bool:
    """Return whether no opening is the same as another, or begins with it."""
    spelled = sorted(part.numpy().tobytes() for part in openings)
    return not any(after.startswith(before) for before, after in pairwise(spelled))
