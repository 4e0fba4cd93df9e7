"""GLM-Image: the grid as text, a small draft of the image, then the image, in a head of its own from 0."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..vocabulary import Vocabulary
from .base import Layout
from .content import GridContent, SequenceContent
from .frame import Frame, numbers_of, read_number
from .framed import FramedLayout, check_one_codebook
from .orders import InOrder
from .slots import Grid

DRAFT_SIDE = 16


def glm(vocabulary: Vocabulary, draft_side: int = DRAFT_SIDE) -> Layout:
    """Return the layout of GLM-Image: the grid, that of a draft, begin, the draft row by row, the image row by row, end.

    Each grid is "y x" between grid begin and grid end. The draft of a square image has `draft_side` rows and columns, others
    have the same area nearly. Tokens are then `b 1 1 n`, the draft before the image: see `join_draft`. Without a draft
    (`draft_side=0`, as where GLM-Image edits an image) they are `b 1 y x`.
    """
    check_one_codebook("glm", vocabulary)
    if not isinstance(draft_side, int) or draft_side < 0:
        raise ValueError(
            f"draft_side is {draft_side}, but must be the side of the draft of a square image, or 0 for no draft."
        )
    image = vocabulary["image"]
    content = SequenceContent(image.size) if draft_side else GridContent(image.size, 1)
    frame = GlmFrame(vocabulary, draft_side)
    return FramedLayout("glm", vocabulary, frame, InOrder(image, frame.count), content)


def draft_grid(grid: Grid, draft_side: int = DRAFT_SIDE) -> Grid:
    """Return the grid of the draft of an image: in proportion to it, with at most `draft_side` squared tokens."""
    ratio = grid.y / grid.x
    y, x = (max(1, int(math.sqrt(part) * draft_side)) for part in (ratio, 1 / ratio))
    return Grid(y, x)


def join_draft(draft: Tensor, image: Tensor) -> Tensor:
    """Return tokens `b 1 1 n` of a draft `b 1 y x` and its image `b 1 y x`."""
    return torch.cat([draft.flatten(-2), image.flatten(-2)], dim=-1).unsqueeze(-2)


def split_draft(tokens: Tensor, grid: Grid, draft_side: int = DRAFT_SIDE) -> tuple[Tensor, Tensor]:
    """Return the draft and the image of tokens `b 1 1 n`; the reverse of `join_draft`."""
    draft = draft_grid(grid, draft_side)
    parts = tokens.squeeze(-2).split([draft.y * draft.x, grid.y * grid.x], dim=-1)
    return parts[0].unflatten(-1, draft), parts[1].unflatten(-1, grid)


class GlmFrame(Frame):
    """The grid of the image and that of its draft as text, begin, and end."""

    def __init__(self, vocabulary: Vocabulary, draft_side: int):
        image = vocabulary["image"]
        self.numbers = numbers_of("glm", vocabulary, " ")
        roles = ("grid_begin", "grid_end", "begin", "end")
        self.grid_begin, self.grid_end, self.begin, self.end = (image.structure_id(role, "glm") for role in roles)
        self.draft_side = draft_side

    def grids(self, grid: Grid) -> list[Grid]:
        """Return the grids in the order of their codes."""
        return [draft_grid(grid, self.draft_side), grid] if self.draft_side else [grid]

    def count(self, grid: Grid) -> int:
        """Return how many codes an image has, with its draft."""
        return sum(each.y * each.x for each in self.grids(grid))

    def before(self, grid: Grid) -> Sequence[int]:
        written = [(self.grid_begin, *self.numbers.write(*each), self.grid_end) for each in reversed(self.grids(grid))]
        return (*(number for ids in written for number in ids), self.begin)

    def after(self) -> Sequence[int]:
        return (self.end,)

    def read(self, ids: Tensor) -> Grid:
        return read_number("glm", self.numbers, self.grid_begin, self.grid_end, ids)
