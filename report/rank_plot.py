"""Tokens per code by rank on two log scales, beside a uniform draw of as many tokens."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..evaluation.even_use import even_counts
from .axes import Axis, number, ticks
from .plot import corners, data, frame

POINTS = 96
"""Max points of a line; each is the mean of the codes of consecutive ranks."""

Line = NDArray[np.float64]


def rank_plot(name: str, counts: NDArray[np.int64]) -> tuple[str, str]:
    """Return the legend and the plot of the counts `k` of a codebook: the codes that occur, and those of a uniform draw."""
    if not counts.any():
        return "", '<p class="empty">No token was counted.</p>'
    lines = [ranked_line(counts), even_line(int(counts.sum()), len(counts))]
    everything = np.concatenate([line for line in lines if len(line)])
    x = Axis(0.9, max(2.0, 1.1 * len(counts)), log=True)
    low, high = float(everything[:, 1].min()), float(everything[:, 1].max())
    y = Axis(low / 1.5, high * 1.5, log=True)
    used = int((counts > 0).sum())
    label = (
        f"Tokens of each code of {name} by rank, both on log scales: {counts.max():,} at rank 1, {counts[counts > 0].min():,} "
        f"at rank {used:,}, the last of those in use."
    )
    drawing = "".join(_polyline(line, f"c{index}", x, y) for index, line in enumerate(lines))
    points: list[list[list[float | None]]] = [
        [[float(f"{rank:.4g}"), float(f"{tokens:.4g}")] for rank, tokens in line.tolist()] for line in lines
    ]
    plot = frame(drawing, label, (x, ticks(x)), (y, ticks(y)))
    legend = (
        f'<li class="c0">tokens per code <output>{number(counts.sum() / len(counts))} on average</output></li>'
        '<li class="c1">a uniform draw of as many <output></output></li>'
    )
    return legend, plot + data(x, y, "rank", points)


def ranked_line(counts: NDArray[np.int64]) -> Line:
    """Return ranks and tokens `n 2` of the codes that occur, those of close ranks as their mean."""
    ranked = np.sort(counts[counts > 0])[::-1]
    edges = np.unique(np.geomspace(1, len(ranked) + 1, POINTS + 1).round().astype(np.int64))
    groups = [(first, last - 1, ranked[first - 1 : last - 1]) for first, last in pairwise(edges.tolist())]
    return np.array([[(first * last) ** 0.5, group.mean()] for first, last, group in groups])


def even_line(tokens: int, codes: int) -> Line:
    """Return ranks and tokens `n 2` that are expected of a uniform draw, from rank 1 to the last code that occurs."""
    numbers, expected = even_counts(tokens, codes)
    ends = np.cumsum(expected[::-1])[::-1]  # codes with at least so many tokens
    begins = ends - expected
    middle = np.sqrt(np.maximum(begins, 0.5) * np.maximum(ends, 0.5))
    kept = (numbers > 0) & (ends >= 1)
    line = np.stack([np.maximum(middle[kept], 1.0), numbers[kept]], axis=1)[::-1]
    last = ends[numbers > 0][0] if (numbers > 0).any() else 0.0
    if len(line):
        line = np.concatenate([line, [[max(last, 1.0), line[-1, 1]]]])
    return line[np.unique(np.linspace(0, len(line) - 1, POINTS).astype(int))] if len(line) else np.empty((0, 2))


def _polyline(line: Line, colour: str, x: Axis, y: Axis) -> str:
    points = " ".join(f"{across},{down}" for across, down in corners(x, y, line[:, 0], line[:, 1]).tolist())
    return f'<g class="{colour}"><polyline points="{points}"/></g>' if points else ""
