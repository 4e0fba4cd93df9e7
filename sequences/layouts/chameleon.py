"""Chameleon and Janus: begin, codes, end."""

from functools import partial

from ..vocabulary import Vocabulary
from .base import Layout
from .frame import build_frame
from .framed import FramedLayout, check_one_codebook
from .orders import interleaved


def chameleon(vocabulary: Vocabulary, grid: tuple[int, int] | None = None) -> Layout:
    """Return the layout begin, codes row by row, end (arXiv 2405.09818, of one grid; Janus, arXiv 2410.13848).

    Its ids do not tell the grid: it is given for all images, or to `tokens`.
    """
    check_one_codebook("chameleon", vocabulary)
    frame = build_frame("chameleon", vocabulary, "ends", grid)
    return FramedLayout("chameleon", vocabulary, frame, partial(interleaved, vocabulary["image"]))
