"""Where the last image of each row begins, found in the ids themselves."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ..layouts import Grid, Layout, Slots


class Marks(NamedTuple):
    """Ids that begin and end an image; None where the layout has none."""

    begin: int | None
    times: int
    """How often an image has its begin id: twice where it begins with two grids."""
    end: int | None


class Place(NamedTuple):
    """Where each row is, `b` each."""

    first: Tensor
    """Index of the first id of the row's last image, -1 before the first image."""
    ended: Tensor
    """Whether an end id came after it."""


def marks_of(layout: Layout, grids: Iterable[Grid]) -> Marks:
    """Return which structure ids mark the begin and the end of images, where these are the same for all grids."""
    structure = set(layout.image.structure.values())
    begins, ends = set(), set()
    for slots in map(layout.slots, grids):
        begins.add(_mark(slots, 0))
        ends.add(_mark(slots, len(slots.first) - 1))
    (begin, times), (end, once) = (marks.pop() if len(marks) == 1 else (None, 1) for marks in (begins, ends))
    return Marks(begin if begin in structure else None, times, end if end in structure and once == 1 else None)


def find_last_image(ids: Tensor, marks: Marks, start: Tensor | None) -> Place:
    """Return where the rows of ids `b n` are; with `start`, `b`, an image begins there, and nothing before it counts."""
    positions = torch.arange(ids.shape[1], device=ids.device)
    first = ids.new_full((len(ids),), -1) if start is None else start
    if marks.begin is not None:
        begins = (ids == marks.begin) & (positions >= first[:, None])
        count = begins.cumsum(1)
        last = (count[:, -1:] - 1) // marks.times * marks.times + 1
        first = torch.where(count[:, -1] > 0, (begins & (count == last)).int().argmax(1), first)
    if marks.end is None:
        return Place(first, torch.zeros_like(first, dtype=torch.bool))
    return Place(first, ((ids == marks.end) & (positions > first[:, None])).any(1))


def _mark(slots: Slots, position: int) -> tuple[int | None, int]:
    """Return the id of a position and how often an image has it; None when it is not the only id there, or may be a code."""
    number = int(slots.first[position])
    holds = (slots.first <= number) & (number < slots.first + slots.size)
    structure = bool((slots.size[holds] == 1).all())
    return (number if structure else None), int(holds.sum())
