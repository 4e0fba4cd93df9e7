"""The grids of a multi-scale quantizer, and the shape of the tokens that tells them again."""

import math
from collections.abc import Sequence
from typing import TypeAlias

from torch import Tensor

Grid: TypeAlias = tuple[int, int]


def scale_grids(scales: Sequence[int], y: int, x: int) -> list[Grid]:
    """Return the grid of each scale for a latent of `y x`: in proportion to the last, rounded down, at least 1.

    For a latent whose sides are the last scale, these are squares.
    """
    last = scales[-1]
    return [(max(1, scale * y // last), max(1, scale * x // last)) for scale in scales]


def token_grid(scales: Sequence[int], y: int, x: int) -> Grid:
    """Return the shape of the tokens of a latent of `y x`: `1 n`, or `n 1` if it is higher than wide.

    Raises ValueError when a latent nearer to a square has as many, so that the tokens would not tell the two apart.
    """
    count = _count(scales, y, x)
    shape = (count, 1) if y > x else (1, count)
    told = latent_grid(scales, *shape)
    if told != (y, x):
        assert told is not None
        raise ValueError(
            f"The multi-scale quantizer got a grid of {y} x {x}, which has {count} tokens, as one of {told[0]} x {told[1]} "
            "has: resize the images."
        )
    return shape


def latent_grid(scales: Sequence[int], rows: int, columns: int) -> Grid | None:
    """Return the grid of the latent whose tokens have a shape, the nearest to a square, or None if there is none."""
    if min(rows, columns) != 1:
        return None
    count = max(rows, columns)
    for short in range(math.isqrt(count), 0, -1):
        side = _shortest_side(scales, short, count)
        if _count(scales, short, side) == count:
            return (side, short) if rows > columns else (short, side)
    return None


def _shortest_side(scales: Sequence[int], short: int, count: int) -> int:
    """Return the least side, no less than `short`, with which there are `count` tokens or more.

    By halves, as `bisect` would, which torch.compile does not trace.
    """
    low, high = short, count // short + 1
    while low < high:
        middle = (low + high) // 2
        if _count(scales, short, middle) < count:
            low = middle + 1
        else:
            high = middle
    return low


def split_scales(scales: Sequence[int], tokens: Tensor) -> tuple[Grid, list[Tensor]]:
    """Return the grid of the latent of tokens, and the tokens of each scale on its own grid.

    Raises ValueError when no grid has tokens of that shape.
    """
    grid = latent_grid(scales, *tokens.shape[2:])
    if grid is None:
        raise ValueError(
            f"The quantizer got tokens of shape {tuple(tokens.shape)}, but takes b 1 1 n or b 1 n 1: all scales "
            f"{list(scales)} of an image in one row or column."
        )
    sizes = scale_grids(scales, *grid)
    parts = tokens.flatten(1).split([y * x for y, x in sizes], dim=1)
    return grid, [part.reshape(-1, 1, *size) for part, size in zip(parts, sizes, strict=True)]


def _count(scales: Sequence[int], y: int, x: int) -> int:
    return sum(height * width for height, width in scale_grids(scales, y, x))
