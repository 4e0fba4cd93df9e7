"""One point for each of several things, with its two values in the legend."""

from html import escape

import numpy as np

from .axes import number, ticks, value_axis
from .content import Scatter
from .plot import figure, frame, percent

COLOURS = 6


def scatter_html(scatter: Scatter) -> str:
    """Return a plot of points, coloured as in the legend, which has their values."""
    xs, ys = np.array(list(scatter.points.values()), np.float64).T
    x, y = value_axis(xs, log=False), value_axis(ys, log=False)
    dots = legend = ""
    sentences = []
    for index, (name, (across, up)) in enumerate(scatter.points.items()):
        colour = f"c{index % COLOURS}"
        dots += f'<circle class="{colour}" cx="{percent(x, across)}" cy="{percent(y, up, True)}" r="5"/>'
        values = f"{number(up)} at {number(across)}"
        legend += f'<li class="{colour}">{escape(name)} <output>{values}</output></li>'
        sentences.append(f"{name}: {values}.")
    label = f"{scatter.y} over {scatter.x}. {' '.join(sentences)}"
    plot = frame("", label, (x, ticks(x)), (y, ticks(y)), dots)
    heading = f'<h3>{escape(scatter.title)}</h3><span class="where">{escape(scatter.y)} over {escape(scatter.x)}</span>'
    return figure("chart scatter", heading, legend, plot)
