"""Codes alone, row by row from the top left."""

from functools import partial

from ..vocabulary import Vocabulary
from .base import Layout
from .frame import build_frame
from .framed import FramedLayout
from .orders import interleaved


def raster(vocabulary: Vocabulary, grid: tuple[int, int] | None = None) -> Layout:
    """Return the layout of codes alone, those of all codebooks together at each position.

    Its ids do not tell the grid: it is given for all images, or to `tokens`.
    """
    frame = build_frame("raster", vocabulary, "none", grid)
    return FramedLayout("raster", vocabulary, frame, partial(interleaved, vocabulary["image"]))
