"""Charts of a run's scalars as inline SVG."""

from html import escape
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .axes import Axis, count_axis, number, ticks, value_axis
from .content import Chart, Curve
from .curves import Trend, runs, thin, trend
from .plot import corners, data, figure, frame, percent

COLOURS = 6
"""Colours of curves in page.css; the seventh curve repeats the first."""


class Points(NamedTuple):
    """The points of a curve that are drawn; NaN where a value cannot be drawn."""

    name: str
    colour: str
    steps: NDArray[np.float64]
    values: NDArray[np.float64]
    gaps: int
    """Number of values of the whole curve that cannot be drawn."""
    trend: Trend | None
    """The trend of a noisy curve, at the points that are drawn."""


def chart_html(chart: Chart) -> str:
    """Return a chart with a legend that shows the last value of each curve."""
    with_values = [curve for curve in chart.curves if curve.values]
    curves = [_points(curve, f"c{index % COLOURS}", chart.log_scale) for index, curve in enumerate(with_values)]
    title = f"<h3>{escape(chart.title)}</h3>"
    drawn = np.concatenate([curve.values[np.isfinite(curve.values)] for curve in curves] or [np.empty(0)])
    if not len(drawn):
        allowed = "finite and above 0" if chart.log_scale else "finite"
        empty = f'<p class="empty">There is no value to draw that is {allowed}.</p>'
        return figure("chart", f'{title}<span class="where"></span>', "", empty)
    steps = np.concatenate([curve.steps for curve in curves])
    x, y = count_axis(float(steps.min()), float(steps.max())), value_axis(drawn, chart.log_scale)
    lines = "".join(_line(curve, x, y) for curve in curves)
    dots = "".join(_dots(curve, x, y) for curve in curves)
    plot = frame(lines, _summary(chart, curves), (x, ticks(x, whole=True)), (y, ticks(y)), dots)
    points = data(x, y, chart.unit, [_rows(curve) for curve in curves])
    legend = "".join(map(_entry, curves)) + _windows(curves)
    return figure(
        "chart", f'{title}<span class="where">{escape(chart.unit)} {int(steps.max()):,}</span>', legend, plot + points
    )


def _points(curve: Curve, colour: str, log: bool) -> Points:
    assert len(curve.steps) == len(curve.values), f"{curve.name}: a value for each step"
    order = np.argsort(curve.steps, kind="stable")
    steps, values = np.array(curve.steps, np.float64)[order], np.array(curve.values, np.float64)[order]
    cannot = ~np.isfinite(values) | (log & (values <= 0))
    values = np.where(cannot, np.nan, values)
    kept = thin(values)
    return Points(curve.name, colour, steps[kept], values[kept], int(cannot.sum()), trend(values, kept))


def _line(curve: Points, x: Axis, y: Axis) -> str:
    line = _polylines(curve.steps, curve.values, x, y)
    if not curve.trend:
        return f'<g class="{curve.colour}">{line}</g>'
    mean = _polylines(curve.steps, curve.trend.means, x, y)
    return f'<g class="{curve.colour} faint">{line}</g><g class="{curve.colour}">{mean}</g>'


def _polylines(steps: NDArray[np.float64], values: NDArray[np.float64], x: Axis, y: Axis) -> str:
    lines = ""
    for run in runs(values):
        points = corners(x, y, steps[run], values[run])
        if len(points) > 1:
            lines += f'<polyline points="{" ".join(f"{across},{down}" for across, down in points.tolist())}"/>'
    return lines


def _dots(curve: Points, x: Axis, y: Axis) -> str:
    """Return isolated values, which a line would not show."""
    return "".join(
        f'<circle class="{curve.colour}" cx="{percent(x, curve.steps[run.start])}" '
        f'cy="{percent(y, curve.values[run.start], True)}" r="3"/>'
        for run in runs(curve.values)
        if run.stop - run.start == 1
    )


def _rows(curve: Points) -> list[list[float | None]]:
    return [
        [int(step), float(f"{value:.6g}") if np.isfinite(value) else None]
        for step, value in zip(curve.steps.tolist(), curve.values.tolist(), strict=True)
    ]


def _entry(curve: Points) -> str:
    finite = curve.values[np.isfinite(curve.values)]
    last = number(float(finite[-1])) if len(finite) else ""
    gaps = f' <em class="alarm">{curve.gaps:,} not drawn</em>' if curve.gaps else ""
    return f'<li class="{curve.colour}">{escape(curve.name)} <output>{last}</output>{gaps}</li>'


def _windows(curves: list[Points]) -> str:
    windows = sorted({curve.trend.window for curve in curves if curve.trend})
    return f"<li>line: mean of {' or '.join(map(str, windows))} values</li>" if windows else ""


def _summary(chart: Chart, curves: list[Points]) -> str:
    sentences = []
    for curve in curves:
        finite = curve.values[np.isfinite(curve.values)]
        if len(finite):
            first, last, low, high = map(number, (finite[0], finite[-1], finite.min(), finite.max()))
            sentences.append(f"{curve.name} goes from {first} to {last}, between {low} and {high}.")
    return f"{chart.title} over the {chart.unit}s. {' '.join(sentences)}"
