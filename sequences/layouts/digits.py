"""FSQ codes as their digits: a vocabulary of the most levels of a channel instead of their product."""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from ...tokenizer.wording import shown
from ..modality import Modality
from ..vocabulary import Vocabulary
from .base import Layout
from .content import Content, GridContent
from .frame import FrameName, build_frame
from .framed import FramedLayout
from .slots import Grid, Slots, check_integers


def digits(
    vocabulary: Vocabulary, levels: Sequence[int], frame: FrameName = "grid", grid: tuple[int, int] | None = None
) -> Layout:
    """Return the layout with the digits of a token, one a channel, together at each position; the least significant first.

    `levels` are those of the quantizer (`fsq`, `fsp`). The vocabulary has one offset for all channels, or one each, and the
    size of the highest level. `frame` and `grid` are as for `interleaved`.
    """
    image = vocabulary["image"]
    levels = _checked_levels(levels, image)
    around = build_frame("digits", vocabulary, frame, grid)
    offsets = image.offsets if image.num_codebooks > 1 else image.offsets * len(levels)
    return FramedLayout("digits", vocabulary, around, partial(_digit_slots, offsets, levels), DigitContent(levels))


class DigitContent(Content):
    """Tokens `b 1 y x` as digits `b d y x`, the first channel the least significant."""

    def __init__(self, levels: Sequence[int]):
        self.levels = tuple(levels)
        self.weights = tuple(math.prod(levels[:channel]) for channel in range(len(levels)))
        self.whole = GridContent(math.prod(levels), 1)

    def grid(self, tokens: Tensor) -> Grid:
        return self.whole.grid(tokens)

    def flat(self, tokens: Tensor, grid: Grid) -> Tensor:
        whole = self.whole.flat(tokens, grid)[..., None, :]
        levels, weights = (self._column(values, tokens.device) for values in (self.levels, self.weights))
        return (whole // weights % levels).flatten(-2)

    def tokens(self, symbols: Tensor, grid: Grid) -> Tensor:
        each = symbols.unflatten(-1, (len(self.levels), grid.y * grid.x))
        whole = (each * self._column(self.weights, symbols.device)).sum(dim=-2)
        return self.whole.tokens(whole, grid)

    @staticmethod
    def _column(values: Sequence[int], device: torch.device) -> Tensor:
        return torch.tensor(values, device=device)[:, None]


def _digit_slots(offsets: Sequence[int], levels: Sequence[int], grid: Grid) -> Slots:
    area = grid.y * grid.x
    source = torch.arange(len(levels) * area).reshape(len(levels), area).T.flatten()
    return Slots(torch.tensor(offsets).repeat(area), torch.tensor(levels).repeat(area), source)


def _checked_levels(levels: Sequence[int], image: Modality) -> tuple[int, ...]:
    levels = check_integers("levels", levels, 2, "those of the quantizer, each 2 or more")
    if math.prod(levels) >= 2**63:
        raise ValueError(
            f"levels are {shown(list(levels))}, whose product no int64 holds: give those of the quantizer."
        )
    if image.num_codebooks not in (1, len(levels)) or image.size < max(levels):
        raise ValueError(
            f"The vocabulary has {image.num_codebooks} times {image.size} image ids, but the layout digits needs {max(levels)} "
            f"for levels {list(levels)}, once or {len(levels)} times: make it with vocab_size={max(levels)}."
        )
    return levels
