"""Several tokenizers on one page: their figures in a table, their reconstructions in rows, their use of the codes in a plot."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .axes import Axis, number, ticks, value_axis
from .content import ComparedRow, ComparedSection, Curve, ImageRow, SideBySide
from .data_url import SMALL, data_url
from .plot import corners, data, figure, frame, percent
from .scatter import scatter_html

STYLE = Path(__file__).parent / "side_by_side.css"
SCRIPT = Path(__file__).parent / "side_by_side.js"
COLOURS = 6
POINTS = 128
"""Max points of a curve; with more codes in use, each is the mean of several ranks."""


def compared_html(compared: SideBySide) -> str:
    """Return how the tokenizers were measured, and the table of their figures with the best in bold."""
    explanation = "".join(f"<p>{escape(sentence)}</p>" for sentence in compared.explanation)
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in compared.columns)
    bodies = "".join(map(_section, compared.sections))
    return (
        f'<div class="explanation">{explanation}</div>'
        '<div class="wide" role="region" tabindex="0" aria-label="Figures of all tokenizers"><table class="compared">'
        f'<thead><tr><td></td>{head}<th scope="col">better</th></tr></thead>{bodies}</table></div>'
        + (scatter_html(compared.scatter) if compared.scatter else "")
    )


def _section(section: ComparedSection) -> str:
    conditions = "".join(f"<td>{escape(condition)}</td>" for condition in section.conditions)
    head = f'<tr class="head"><th scope="rowgroup">{escape(section.title)}</th>{conditions}<td></td></tr>'
    return f"<tbody>{head}{''.join(map(_row, section.rows))}</tbody>"


def _row(row: ComparedRow) -> str:
    cells = "".join(
        f"<td><b>{escape(cell)}</b></td>" if index in row.best else f"<td>{escape(cell)}</td>"
        for index, cell in enumerate(row.cells)
    )
    kind = ' class="detail"' if row.is_detail else ""
    return f'<tr{kind}><th scope="row">{escape(row.label)}</th>{cells}<td>{escape(row.better)}</td></tr>'


def image_rows_html(rows: Sequence[ImageRow]) -> str:
    """Return each image in a row with its reconstructions; where scripts run, pressing one shows the original in its place."""
    if not rows:
        return ""
    hint = '<p class="hint">Press a reconstruction to see the original in its place.</p>'
    return hint + "".join(map(_image_row, rows))


def _image_row(row: ImageRow) -> str:
    small = " small" if max(row.original.size) <= SMALL else ""
    tiles = [_tile("original", row.original, f"original: {row.label}", "original")]
    tiles += [
        _tile("reconstruction", image, f"{caption}: {row.label}", caption)
        for caption, image in row.reconstructions.items()
    ]
    return f'<div class="beside{small}"><h3>{escape(row.label)}</h3><div class="tiles">{"".join(tiles)}</div></div>'


def _tile(kind: str, image: Image.Image, description: str, caption: str) -> str:
    return (
        f'<figure class="{kind}"><img src="{data_url(image)}" width="{image.width}" height="{image.height}" '
        f'alt="{escape(description)}"><figcaption>{escape(caption)}</figcaption></figure>'
    )


def usage_curve(name: str, counts: Tensor) -> Curve:
    """Return tokens by rank as a multiple of even use, over the percent of the codes up to that rank, from counts `q k`.

    The curve ends with the codes that occur. Several codebooks are averaged rank by rank.
    """
    ranked = counts.sort(dim=1, descending=True).values.double()
    relative = (ranked * counts.shape[1] / ranked.sum(dim=1, keepdim=True).clamp_min(1)).mean(dim=0)
    used = relative[: int((relative > 0).sum())]
    groups = [group for group in torch.arange(len(used)).tensor_split(min(POINTS, max(1, len(used)))) if len(group)]
    percents = [100 * (int(group[-1]) + 1) / counts.shape[1] for group in groups]
    return Curve(name, percents, [float(used[group].mean()) for group in groups])


def usage_html(curves: Sequence[Curve]) -> str:
    """Return the curves of `usage_curve` on common axes, the values on a log scale."""
    drawn = [curve for curve in curves if curve.values]
    if not drawn:
        return ""
    xs, ys = (
        [np.array(part, np.float64) for part in parts] for parts in zip(*(curve[1:] for curve in drawn), strict=True)
    )
    x = Axis(0, min(100.0, 1.1 * max(float(values.max()) for values in xs)))
    y = value_axis(np.concatenate([*ys, np.ones(1)]), log=True)
    lines = "".join(_line(index, *points, x, y) for index, points in enumerate(zip(xs, ys, strict=True)))
    at = percent(y, 1.0, True)
    even = f'<line class="even" x2="100%" y1="{at}" y2="{at}"/>'
    even += f'<text class="mark" x="100%" y="{at}" dy="-6" text-anchor="end">even use</text>'
    ends = [
        f"{curve.name} uses {number(float(part[-1]))} % of its codes." for curve, part in zip(drawn, xs, strict=True)
    ]
    label = f"Tokens of each code by rank, as a multiple of even use, over the percent of the codes. {' '.join(ends)}"
    plot = frame(lines, label, (x, ticks(x)), (y, ticks(y)), even)
    points: list[list[list[float | None]]] = [
        [[float(f"{a:.4g}"), float(f"{b:.4g}")] for a, b in zip(*part, strict=True)]
        for part in zip(xs, ys, strict=True)
    ]
    legend = "".join(
        f'<li class="c{index % COLOURS}">{escape(curve.name)} <output></output></li>'
        for index, curve in enumerate(drawn)
    )
    heading = '<h3>Tokens per code by rank, 1 at even use</h3><span class="where">% of the codes</span>'
    return figure("chart usage", heading, legend, plot + data(x, y, "% of the codes:", points))


def _line(index: int, xs: NDArray[np.float64], ys: NDArray[np.float64], x: Axis, y: Axis) -> str:
    points = " ".join(f"{across},{down}" for across, down in corners(x, y, xs, ys).tolist())
    return f'<g class="c{index % COLOURS}"><polyline points="{points}"/></g>'
