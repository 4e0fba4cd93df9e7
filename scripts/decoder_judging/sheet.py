"""Panels of one photo, each with the whole image at 1:1 and enlarged crops of every sample, in rows under titles."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP = 8
TITLE, CAPTION = 15, 11
"""Sizes of text; lines are GAP higher."""


class Box(NamedTuple):
    """A square of an image."""

    left: int
    top: int
    side: int


class Panel(NamedTuple):
    """A decoder, or the original: one image for each seed, or one alone."""

    title: str
    samples: list[Image.Image]
    captions: list[str]
    """Of the samples, such as "seed 0"; an empty one is not written."""


def largest_errors(original: Image.Image, reconstruction: Image.Image, side: int, count: int) -> list[Box]:
    """Return the squares that lost most: those with the largest squared error, which do not overlap, largest first."""
    error = np.square(np.asarray(original, float) - np.asarray(reconstruction, float)).sum(axis=2)
    sums = np.pad(error.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    squares = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    boxes: list[Box] = []
    while len(boxes) < count and squares.max(initial=-1) >= 0:
        top, left = map(int, np.unravel_index(squares.argmax(), squares.shape))
        boxes.append(Box(left, top, side))
        squares[max(0, top - side + 1) : top + side, max(0, left - side + 1) : left + side] = -1
    return boxes


def sheet(photos: Sequence[tuple[Sequence[Panel], Sequence[Box]]], columns: int, zoom: int) -> Image.Image:
    """Return all panels of all photos, `columns` in a row."""
    rows = [
        [panel_image(panel, boxes, zoom) for panel in panels[start : start + columns]]
        for panels, boxes in photos
        for start in range(0, len(panels), columns)
    ]
    widths = [sum(panel.width + GAP for panel in row) + GAP for row in rows]
    heights = [max(panel.height for panel in row) + GAP for row in rows]
    whole = Image.new("RGB", (max(widths), sum(heights) + GAP), "white")
    top = GAP
    for row, height in zip(rows, heights, strict=True):
        left = GAP
        for panel in row:
            whole.paste(panel, (left, top))
            left += panel.width + GAP
        top += height
    return whole


def panel_image(panel: Panel, boxes: Sequence[Box], zoom: int) -> Image.Image:
    """Return a title, the first sample at 1:1, and under it each box of each sample, enlarged without smoothing.

    Boxes of the first sample come first, so those of panels with one sample are beside them.
    """
    parts: list[tuple[str, int, Image.Image]] = [(panel.title, TITLE, panel.samples[0])]
    for sample, caption in zip(panel.samples, panel.captions, strict=True):
        for box in boxes:
            crop = sample.crop((box.left, box.top, box.left + box.side, box.top + box.side))
            enlarged = crop.resize((zoom * box.side, zoom * box.side), Image.Resampling.NEAREST)
            parts.append((f"{caption}, x {zoom}".removeprefix(", "), CAPTION, enlarged))
    width = max(image.width for _, _, image in parts)
    drawn = Image.new("RGB", (width, sum(size + 2 * GAP + image.height for _, size, image in parts)), "white")
    pen, top = ImageDraw.Draw(drawn), 0
    for text, size, image in parts:
        pen.text((0, top), text, fill="black", font=ImageFont.load_default(size))
        top += size + GAP
        drawn.paste(image, (0, top))
        top += image.height + GAP
    return drawn
