"""Figures, and the frame of a plot: axes whose text keeps its size around a drawing that stretches."""

import json
from html import escape

import numpy as np
from numpy.typing import NDArray

from .axes import Axis, Tick

SIDE = 10_000
"""Width and height of the drawing in its own units, which are stretched to the space on the page."""


def figure(kind: str, heading: str, legend: str, body: str) -> str:
    """Return a figure of a class `kind` with a heading, the entries of a legend and what they explain."""
    return f'<figure class="{kind}"><figcaption>{heading}<ul class="legend">{legend}</ul></figcaption>{body}</figure>'


def frame(drawing: str, label: str, x: tuple[Axis, list[Tick]], y: tuple[Axis, list[Tick]], above: str = "") -> str:
    """Return a plot of `drawing`, in a square of SIDE with y downwards, under the SVG of `above`, positioned in percent."""
    across = "".join(
        f'<text x="{percent(x[0], tick.value)}" y="100%" dy="18" text-anchor="middle">{escape(tick.label)}</text>'
        for tick in x[1]
    )
    lines = "".join(
        f'<line x2="100%" y1="{at}" y2="{at}"/>' for at in (percent(y[0], tick.value, True) for tick in y[1])
    )
    up = "".join(
        f'<text x="-8" y="{percent(y[0], tick.value, True)}" dy=".32em" text-anchor="end">{escape(tick.label)}</text>'
        for tick in y[1]
    )
    gutter = max((len(tick.label) for tick in y[1]), default=0)
    return (
        f'<div class="plot" style="--gutter:{gutter}"><svg role="img" aria-label="{escape(label)}">'
        f'<g class="grid">{lines}</g><g class="ticks">{across}{up}</g>'
        f'<svg class="drawing" viewBox="0 0 {SIDE} {SIDE}" preserveAspectRatio="none">{drawing}</svg>{above}</svg></div>'
    )


def percent(axis: Axis, value: float, down: bool = False) -> str:
    """Return the position of a value along an axis, measured from its end if `down`, as an SVG length."""
    fraction = float(axis.place(np.array(value)))
    return f"{100 * (1 - fraction if down else fraction):.2f}%"


def corners(x: Axis, y: Axis, xs: NDArray[np.float64], ys: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return points `n 2` in units of the drawing."""
    placed = np.stack([x.place(xs), 1 - y.place(ys)], axis=-1)
    return (placed * SIDE).round().astype(np.int64)


def data(x: Axis, y: Axis, unit: str, curves: list[list[list[float | None]]], labels: list[str] | None = None) -> str:
    """Return the points `[x, y]` of a plot for the readout, y None at gaps; `labels` replace the label `unit x`."""
    facts = {"x": x[:2], "y": y[:2], "log": y.log, "xlog": x.log, "unit": unit, "curves": curves, "labels": labels}
    # An opening bracket inside a script element could end it.
    text = json.dumps(facts, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json">{text}</script>'
