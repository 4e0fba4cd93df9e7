"""Long curves as few points, gaps as separate lines, and the trend of noisy ones."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LIMIT = 500
"""Points of a curve on a page: about one a pixel."""
TREND = 40
"""Windows along a curve whose trend is drawn."""


class Trend(NamedTuple):
    """Means of the finite values in a window around some values; NaN where such a value itself is not finite."""

    means: NDArray[np.float64]
    window: int


def thin(values: NDArray[np.float64], limit: int = LIMIT) -> NDArray[np.int64]:
    """Return the indices of at most `limit` values, ascending, that look like all of them.

    Both ends stay, and the least, the greatest and one value that is not finite of each of many equal stretches; so
    every extreme of the whole stays and no stretch with a gap closes.
    """
    if len(values) <= limit:
        return np.arange(len(values))
    finite = np.isfinite(values)
    stretches = (limit - 2) // (2 if finite.all() else 3)
    edges = np.linspace(1, len(values) - 1, stretches + 1).astype(int).tolist()
    kept = {0, len(values) - 1}
    for start, end in pairwise(edges):
        piece, drawn = values[start:end], finite[start:end]
        if drawn.any():
            kept.add(start + int(np.where(drawn, piece, np.inf).argmin()))
            kept.add(start + int(np.where(drawn, piece, -np.inf).argmax()))
        if not drawn.all():
            kept.add(start + int(drawn.argmin()))
    return np.array(sorted(kept))


def runs(values: NDArray[np.float64]) -> list[slice]:
    """Return the stretches of finite values, in order: the lines that a curve with gaps consists of."""
    padded = np.concatenate([[False], np.isfinite(values), [False]]).astype(np.int8)
    changes = np.flatnonzero(np.diff(padded)).tolist()
    return [slice(start, end) for start, end in zip(changes[::2], changes[1::2], strict=True)]


def trend(values: NDArray[np.float64], at: NDArray[np.int64]) -> Trend | None:
    """Return the moving mean at some indices of a curve that goes up and down far more than it gets anywhere, else None."""
    finite = np.isfinite(values)
    if finite.sum() < 5 * TREND:
        return None
    half = len(values) // TREND // 2
    means = np.full(len(at), np.nan)
    for place, index in enumerate(at.tolist()):
        if finite[index]:
            window = values[max(0, index - half) : index + half + 1]
            means[place] = window[np.isfinite(window)].mean()
    travelled = np.abs(np.diff(values[finite])).sum()
    return Trend(means, 2 * half + 1) if travelled > 6 * (np.nanmax(means) - np.nanmin(means)) else None
