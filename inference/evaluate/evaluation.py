"""The quality of a loaded tokenizer on the images that users hand in."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from PIL import Image
from torch import Tensor

from ...evaluation.metrics import psnr
from ...evaluation.quality import Quality, measure
from ...evaluation.reference_metrics import Judge, Jury
from ...images.preprocessing import stack_pixels, to_images
from ...tokenizer.numerics.exact import in_batches
from ...tokenizer.shapes import Pixels
from ..api import Tokenizer
from ..inputs.reading import ReadImage

SHOWN = 12


class Example(NamedTuple):
    """A image beside its reconstruction."""

    source: str
    original: Image.Image
    reconstruction: Image.Image
    psnr: float


class Evaluation(NamedTuple):
    """How good a tokenizer is, at its own preprocessing and in float32."""

    quality: Quality
    judged: dict[str, float]
    """Figures of the judges by name."""
    counts: Tensor
    """How often each code was used: see `empty_counts`."""
    examples: list[Example]
    """The first images."""
    not_measured: dict[str, str]
    """Why judges have no figure, by name."""


def evaluate(tokenizer: Tokenizer, images: Iterable[ReadImage], judges: Sequence[Judge] = ()) -> Evaluation:
    """Reconstruct images, those of one shape in batches, and measure; raise ValueError when there are none."""
    examples: list[Example] = []
    sources: list[str] = []
    jury = Jury(judges)
    seen = 0

    def pixels() -> Iterable[Pixels]:
        for image in images:
            sources.append(image.sample.source)
            yield stack_pixels([image.pixels])

    def look(original: Pixels, reconstruction: Pixels) -> None:
        nonlocal seen
        if len(examples) < SHOWN:
            shown = to_images(original), to_images(reconstruction), psnr(original, reconstruction).tolist()
            examples.extend(map(Example, sources[seen:], *shown))
            del examples[SHOWN:]
        seen += len(original)
        jury.look(original, reconstruction)

    measured = measure(tokenizer.model, in_batches(pixels(), tokenizer.batch_size), look)
    figures = jury.figures()
    return Evaluation(measured.quality, figures, measured.counts, examples, jury.dropped)
