"""Lumina-DiMOO: a newline id after each row."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from ..vocabulary import Vocabulary
from .base import Layout
from .frame import Frame
from .framed import FramedLayout, check_one_codebook
from .orders import rows
from .slots import Grid


def lumina(vocabulary: Vocabulary) -> Layout:
    """Return the layout begin, rows with a row end after each, end (arXiv 2510.06308). The row ends tell the grid."""
    check_one_codebook("lumina", vocabulary)
    image = vocabulary["image"]
    begin, row_end, end = (image.structure_id(role, "lumina") for role in ("begin", "row_end", "end"))
    return FramedLayout("lumina", vocabulary, RowFrame(begin, row_end, end), partial(rows, image, row_end, True))


class RowFrame(Frame):
    """Begin and end of rows that each have an end."""

    def __init__(self, begin: int, row_end: int, end: int):
        self.begin, self.row_end, self.end = begin, row_end, end

    def before(self, _grid: Grid) -> Sequence[int]:
        return (self.begin,)

    def after(self) -> Sequence[int]:
        return (self.end,)

    def read(self, ids: Tensor) -> Grid:
        ends = (ids == self.end).nonzero()[:1, 0].tolist()
        row_ends = (ids == self.row_end).nonzero()[:1, 0].tolist()
        if ids[:1].tolist() == [self.begin] and ends and row_ends and 1 < row_ends[0] < ends[0]:
            y, rest = divmod(ends[0] - 1, row_ends[0])
            if rest == 0:
                return Grid(y, row_ends[0] - 1)
        raise ValueError(
            f"ids do not have rows as the layout lumina writes them, each with {self.row_end} at its end, between {self.begin} "
            f"and {self.end}: give those of one image, whole."
        )
