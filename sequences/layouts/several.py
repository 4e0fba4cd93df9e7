"""Several codebooks in one sequence: interleaved, flattened, delayed."""

from functools import partial

from ..vocabulary import Vocabulary
from .base import Layout
from .frame import FrameName, build_frame
from .framed import FramedLayout
from .orders import delayed as delayed_codes
from .orders import flattened as flattened_codes
from .orders import interleaved as interleaved_codes

Sides = tuple[int, int] | None


def interleaved(vocabulary: Vocabulary, frame: FrameName = "grid", grid: Sides = None) -> Layout:
    """Return the layout with the codes of all codebooks together at each position.

    Around the codes of these three, `frame` "grid" writes begin, "y*x", image, and end; "ends" begin and end; "none" nothing.
    `grid` is that of all images where the frame does not tell it.
    """
    around = build_frame("interleaved", vocabulary, frame, grid)
    return FramedLayout("interleaved", vocabulary, around, partial(interleaved_codes, vocabulary["image"]))


def flattened(vocabulary: Vocabulary, frame: FrameName = "grid", grid: Sides = None) -> Layout:
    """Return the layout with one codebook after another, so that coarse codes of a residual quantizer come first."""
    around = build_frame("flattened", vocabulary, frame, grid)
    return FramedLayout("flattened", vocabulary, around, partial(flattened_codes, vocabulary["image"]))


def delayed(vocabulary: Vocabulary, frame: FrameName = "grid", grid: Sides = None) -> Layout:
    """Return the layout with codebook q at step s coding position s - q, and pad where there is none (arXiv 2306.05284).

    The steps come one after another, each with one id for each codebook.
    """
    around = build_frame("delayed", vocabulary, frame, grid)
    image = vocabulary["image"]
    order = partial(delayed_codes, image, image.structure_id("pad", "delayed"))
    return FramedLayout("delayed", vocabulary, around, order)
