"""The codes of a codebook on a plane, coloured by use."""

from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .code_raster import raster_html
from .content import CodebookView
from .shades import SHADES, shades_legend, shades_of_use

MAX_CODES = 4096
"""Max codes on a map; more would blur into one blot."""
SIDE = 1000


def map_html(view: CodebookView, counts: NDArray[np.int64]) -> tuple[str, str]:
    """Return the legend and the map of a codebook: its codes on a plane, or by index where they are computed."""
    if view.codes is None:
        return raster_html(view.name, counts)
    assert len(view.codes) == len(counts), f"{view.name}: a count for each code"
    finite = np.flatnonzero(np.isfinite(view.codes).all(axis=1))
    if not len(finite):
        return "", '<p class="empty">No code is finite: there is nothing to map.</p>'
    kept = np.sort(np.random.default_rng(0).choice(finite, min(MAX_CODES, len(finite)), replace=False))
    points, variance = principal_plane(view.codes[kept])
    places = _places(points)
    shades = shades_of_use(counts[kept])
    size = 7 if len(kept) <= 300 else 5 if len(kept) <= 1500 else 3.5
    unused = _path(places[shades < 0])
    dots = f'<path class="unused" d="{unused}" stroke-width="{size}"/>' if unused else ""
    dots += f'<path class="hole" d="{unused}" stroke-width="{size - 2}"/>' if unused else ""
    for shade in range(SHADES):
        if (shades == shade).any():
            dots += f'<path class="u{shade}" d="{_path(places[shades == shade])}" stroke-width="{size}"/>'
    drawn = f" of {len(counts):,} codes, drawn at random" if len(finite) > MAX_CODES else " codes"
    sentence = f"{len(kept):,}{drawn}, on the plane that holds {variance:.0%} of their variance."
    if len(finite) < len(counts):
        sentence += f" Left out because not finite: {len(counts) - len(finite):,}."
    label = escape(f"Map of {view.name}: {sentence} {int((shades < 0).sum()):,} of them are unused.")
    drawing = f'<svg class="map" role="img" aria-label="{label}" viewBox="0 0 {SIDE} {SIDE}">{dots}</svg>'
    return _legend(counts), f'{drawing}<p class="under">{sentence}</p>'


def principal_plane(codes: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float64], float]:
    """Project codes `k d` to their first two principal components, `k 2` of mean 0; the largest loadings are positive.

    Also returns the fraction of the codes' variance that the plane holds, in [0, 1].
    """
    centred = codes.astype(np.float64) - codes.mean(axis=0, dtype=np.float64)
    variances, axes = np.linalg.eigh(centred.T @ centred)
    plane = axes[:, ::-1][:, :2]
    # The sign of a component is arbitrary; fixing it gives equal maps for equal codes.
    largest = np.take_along_axis(plane, np.abs(plane).argmax(axis=0, keepdims=True), axis=0)
    points = centred @ (plane * np.sign(largest))
    total = float(variances.sum())
    fraction = float(variances[::-1][:2].sum()) / total if total > 0 else 1.0
    return np.pad(points, ((0, 0), (0, 2 - points.shape[1]))), min(fraction, 1.0)


def _places(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Scale points into the drawing with a margin, both axes alike."""
    low, high = points.min(axis=0), points.max(axis=0)
    reach = max(float((high - low).max()) / 2, 1e-30)
    placed = (points - (low + high) / 2) / reach * (0.48 * SIDE)
    return np.stack([SIDE / 2 + placed[:, 0], SIDE / 2 - placed[:, 1]], axis=1).round().astype(np.int64)


def _path(places: NDArray[np.int64]) -> str:
    # Lines of length 0 with round ends are dots whose size does not depend on that of the map.
    return "".join(f"M{x},{y}h0" for x, y in places.tolist())


def _legend(counts: NDArray[np.int64]) -> str:
    unused = '<li><i class="ring"></i> unused</li>' if (counts == 0).any() else ""
    return shades_legend(counts) + unused
