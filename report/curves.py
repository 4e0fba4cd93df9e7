"""Thin long curves, split them at gaps, and find the trend of noisy ones."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LIMIT = 500
"""Max points of a curve on a page, about one per pixel."""
TREND = 40
"""Number of windows along a curve whose trend is drawn."""


class Trend(NamedTuple):
    """Means of the finite values in a window around each point; NaN where the point itself is not finite."""

    means: NDArray[np.float64]
    window: int


def thin(values: NDArray[np.float64], limit: int = LIMIT) -> NDArray[np.int64]:
    """Return the ascending indices of at most `limit` values that draw the same curve as all of them.

    Both ends are kept, and of each of many equal stretches the min, the max and one value that is not finite. So all
    extremes are kept, and no gap closes.
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
    """Return the stretches of finite values in order: the lines of a curve with gaps."""
    return np.ma.clump_unmasked(np.ma.masked_invalid(values))


def trend(values: NDArray[np.float64], at: NDArray[np.int64]) -> Trend | None:
    """Return the moving mean at some indices of a noisy curve, one that moves far more than its mean does; else None."""
    finite = np.isfinite(values)
    if finite.sum() < 5 * TREND:
        return None
    half = len(values) // TREND // 2
    means = np.full(len(at), np.nan)
    for position, index in enumerate(at.tolist()):
        if finite[index]:
            window = values[max(0, index - half) : index + half + 1]
            means[position] = window[np.isfinite(window)].mean()
    travelled = np.abs(np.diff(values[finite])).sum()
    return Trend(means, 2 * half + 1) if travelled > 6 * (np.nanmax(means) - np.nanmin(means)) else None
