"""The quality of a loaded tokenizer on the pictures that users hand in."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from PIL import Image
from torch import Tensor

from ..images.preprocessing import stack_pixels, to_images
from ..tokenizer.metrics import psnr
from ..tokenizer.quality import Quality, measure
from ..tokenizer.shapes import Pixels
from .api import Tokenizer
from .judges import Judge, Jury
from .reading import ReadPicture

SHOWN = 12


class Example(NamedTuple):
    """A picture beside its reconstruction."""

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
    """How often each code was used, `q k`."""
    examples: list[Example]
    """The first pictures."""
    not_measured: dict[str, str]
    """Why judges have no figure, by name."""


def evaluate(tokenizer: Tokenizer, pictures: Iterable[ReadPicture], judges: Sequence[Judge] = ()) -> Evaluation:
    """Reconstruct pictures one at a time and measure; raise ValueError when there are none."""
    examples: list[Example] = []
    sources: list[str] = []
    jury = Jury(judges)

    def pixels() -> Iterable[Pixels]:
        for picture in pictures:
            sources.append(picture.sample.source)
            yield stack_pixels([picture.pixels])

    def look(original: Pixels, reconstruction: Pixels) -> None:
        if len(examples) < SHOWN:
            images = to_images(original)[0], to_images(reconstruction)[0]
            examples.append(Example(sources[-1], *images, float(psnr(original, reconstruction))))
        jury.look(original, reconstruction)

    measured = measure(tokenizer.model, pixels(), look)
    figures = jury.figures()
    return Evaluation(measured.quality, figures, measured.counts, examples, jury.dropped)
