"""Codes that have no table on a plane: cells in the order of their indices, coloured by use."""

import math
from html import escape

import numpy as np
from numpy.typing import NDArray

from .shades import SHADES, shades_legend, shades_of_use

MAX_CELLS = 1 << 14
"""Max cells; with more codes, each is the mean of several neighbours."""


def raster_html(name: str, counts: NDArray[np.int64]) -> tuple[str, str]:
    """Return the legend and the cells of the counts `k` of a codebook, row by row in a square."""
    each = math.ceil(len(counts) / MAX_CELLS)
    means = cell_means(counts, each)
    side = math.ceil(math.sqrt(len(means)))
    shades = shades_of_use(means)
    places = np.arange(len(means))
    cells = ""
    for shade in range(-1, SHADES):
        at = places[shades == shade]
        kind = "none" if shade < 0 else f"u{shade}"
        path = "".join(f"M{x},{y}h{length}" for x, y, length in _runs(at, side))
        cells += f'<path class="{kind}" d="{path}"/>' if path else ""
    covers = "a code" if each == 1 else f"the mean of {each:,} codes"
    sentence = (
        "There is no table of codes to map: they are drawn in the order of their indices, "
        f"row by row; each of the {len(means):,} cells is {covers}."
    )
    label = escape(f"Use of {name} by index: {sentence} {int((means == 0).sum()):,} cells are unused.")
    drawing = f'<svg class="map raster" role="img" aria-label="{label}" viewBox="0 -0.5 {side} {side}">{cells}</svg>'
    unused = '<li><i class="none"></i> unused</li>' if (means == 0).any() else ""
    return shades_legend(means) + unused, f'{drawing}<p class="under">{sentence}</p>'


def cell_means(counts: NDArray[np.int64], each: int) -> NDArray[np.float64]:
    """Return the mean of every `each` neighbours, the last ones perhaps of fewer."""
    starts = np.arange(0, len(counts), each)
    return np.add.reduceat(counts, starts) / np.diff(np.append(starts, len(counts)))


def _runs(places: NDArray[np.int64], side: int) -> list[tuple[int, int, int]]:
    """Return column, row and length of the runs of neighbouring places within a row, for places in ascending order."""
    if not len(places):
        return []
    begins = np.flatnonzero(np.diff(places, prepend=-2) * (places % side > 0) != 1)
    lengths = np.diff(np.append(begins, len(places)))
    first = places[begins]
    return list(zip((first % side).tolist(), (first // side).tolist(), lengths.tolist(), strict=True))
