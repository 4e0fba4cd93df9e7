"""Multi-scale tokens: the grids of all scales, the coarsest first."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from ...tokenizer.scale_grids import latent_grid, token_grid
from ..vocabulary import Vocabulary
from .base import Layout
from .content import Content, check_range
from .frame import FrameName, build_frame
from .framed import FramedLayout, check_one_codebook
from .orders import InOrder
from .slots import Grid, check_integers


def scales(
    vocabulary: Vocabulary, scales: Sequence[int], frame: FrameName = "grid", grid: tuple[int, int] | None = None
) -> Layout:
    """Return the layout of the tokens of a multi-scale quantizer, scale after scale and row after row (arXiv 2404.02905).

    `scales` are those of the quantizer. The grid is that of the latent, so that of the last scale. Tokens are `b 1 1 n`, or
    `b 1 n 1` for an image that is higher than wide. `frame` and `grid` are as for `interleaved`.
    """
    check_one_codebook("scales", vocabulary)
    content = ScaleContent(vocabulary["image"].size, scales)
    around = build_frame("scales", vocabulary, frame, grid)
    return FramedLayout("scales", vocabulary, around, InOrder(vocabulary["image"], content.count), content)


class ScaleContent(Content):
    """Tokens `b 1 1 n` or `b 1 n 1` of all scales, whose number tells the grid of the latent."""

    def __init__(self, vocab_size: int, scales: Sequence[int]):
        what = "those of the quantizer, from 1 on and rising"
        self.scales = list(check_integers("scales", scales, 1, what))
        if any(late <= early for early, late in pairwise(self.scales)):
            raise ValueError(f"scales are {self.scales}, but must be {what}.")
        self.vocab_size = vocab_size

    def count(self, grid: Grid) -> int:
        """Return how many tokens an image has; raise ValueError for a grid that they would not tell from another."""
        return math.prod(token_grid(self.scales, *grid))

    def grid(self, tokens: Tensor) -> Grid:
        shape = tuple(tokens.shape)
        grid = (
            latent_grid(self.scales, *shape[-2:])
            if len(shape) in (3, 4) and shape[-3] == 1 and min(shape[-2:])
            else None
        )
        if grid is None:
            raise ValueError(
                f"tokens have the shape {shape}, but must be 1 1 n or 1 n 1, or a batch of these, with all scales "
                f"{self.scales} of an image."
            )
        return Grid(*grid)

    def flat(self, tokens: Tensor, grid: Grid) -> Tensor:
        if self.grid(tokens) != grid:
            raise ValueError(f"tokens have the grid {self.grid(tokens)}, but the grid given is {grid}: give theirs.")
        check_range("tokens", tokens, self.vocab_size)
        return tokens.flatten(-3)

    def tokens(self, symbols: Tensor, grid: Grid) -> Tensor:
        return symbols.unflatten(-1, (1, *token_grid(self.scales, *grid)))
