"""Numbers of things by a quantity, as bars along a log scale."""

from html import escape
from itertools import pairwise

import numpy as np

from .axes import Axis, number, ticks
from .content import Histogram
from .plot import SIDE, corners, data, figure, frame


def histogram_html(histogram: Histogram) -> str:
    """Return the bars of a histogram; where scripts run, the pointer reads them."""
    edges, numbers = np.array(histogram.edges, np.float64), np.array(histogram.numbers)
    assert len(edges) == len(numbers) + 1, f"{histogram.title}: one more edge than numbers"
    title = f'<h3>{escape(histogram.title)}</h3><span class="where">{escape(histogram.unit)}</span>'
    if not numbers.any():
        return figure("chart", title, "", f'<p class="empty">There are no {escape(histogram.things)} to count.</p>')
    x, y = Axis(float(edges[0]), float(edges[-1]), log=True), Axis(0, 1.08 * float(numbers.max()))
    most = int(numbers.argmax())
    label = (
        f"{histogram.title}: {histogram.things} from {number(edges[0])} to {number(edges[-1])} {histogram.unit}, most of them "
        f"({numbers[most]:,} of {numbers.sum():,}) between {number(edges[most])} and {number(edges[most + 1])}."
    )
    plot = frame(_bars(edges, numbers, x, y), label, (x, ticks(x)), (y, ticks(y, whole=True)))
    labels = [f"{number(low)} to {number(high)} {histogram.unit}" for low, high in pairwise(edges.tolist())]
    middles = np.sqrt(edges[:-1] * edges[1:])
    points: list[list[float | None]] = [
        [float(f"{middle:.6g}"), int(count)] for middle, count in zip(middles, numbers, strict=True)
    ]
    legend = f'<li class="c0">{escape(histogram.things)} <output>{numbers.sum():,}</output></li>'
    return figure("chart", title, legend, plot + data(x, y, histogram.unit, [points], labels))


def _bars(edges: np.ndarray, numbers: np.ndarray, x: Axis, y: Axis) -> str:
    heights = np.repeat(numbers.astype(np.float64), 2)
    across = np.repeat(edges, 2)[1:-1]
    points = " ".join(f"{left},{top}" for left, top in corners(x, y, across, heights).tolist())
    return f'<path class="bars" d="M0,{SIDE} L{points} {SIDE},{SIDE}Z"/>'
