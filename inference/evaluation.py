"""The quality of a loaded tokenizer on the pictures that users hand in."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from ..images.preprocessing import to_images, to_pixels
from ..tokenizer.metrics import psnr
from ..tokenizer.quality import Quality, measure
from ..tokenizer.shapes import Pixels
from .api import Tokenizer
from .judges import Judge
from .pipeline import ReadPicture

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


def evaluate(tokenizer: Tokenizer, pictures: Iterable[ReadPicture], judges: Sequence[Judge] = ()) -> Evaluation:
    """Reconstruct pictures one at a time and measure; raise ValueError when there are none."""
    examples: list[Example] = []
    sources: list[str] = []

    def pixels() -> Iterable[Pixels]:
        for picture in pictures:
            sources.append(picture.sample.source)
            yield to_pixels(torch.from_numpy(picture.pixels.copy()).unsqueeze(0))

    def look(original: Pixels, reconstruction: Pixels) -> None:
        if len(examples) < SHOWN:
            images = to_images(original)[0], to_images(reconstruction)[0]
            examples.append(Example(sources[-1], *images, float(psnr(original, reconstruction))))
        for judge in judges:
            judge.look(original, reconstruction)

    measured = measure(tokenizer.model, pixels(), look)
    return Evaluation(measured.quality, {judge.name: judge.figure() for judge in judges}, measured.counts, examples)
