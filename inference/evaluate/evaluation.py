"""Measure a loaded tokenizer on the images that users give."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from PIL import Image
from torch import Tensor

from ...evaluation.metrics import psnr
from ...evaluation.quality import Quality, measure
from ...evaluation.reference_metrics import ReferenceMetrics
from ...images.preprocessing import stack_pixels, to_images
from ...tokenizer.numerics.exact import in_batches
from ...tokenizer.shapes import Pixels
from ..api import Tokenizer
from ..inputs.samples import Failure, Sample
from .inputs import EvaluationInputs

MAX_EXAMPLES = 12


class Example(NamedTuple):
    """An image beside its reconstruction."""

    source: str
    original: Image.Image
    reconstruction: Image.Image
    psnr: float


class Evaluation(NamedTuple):
    """How good a tokenizer is on some images, with its own preprocessing and in float32."""

    model: str
    """The name that it was loaded by."""
    tokenizer: Tokenizer
    data: list[str]
    quality: Quality
    reference: dict[str, float]
    """Values of the reference metrics, by name."""
    not_measured: dict[str, str]
    """Why the other reference metrics have no value, by name."""
    counts: Tensor
    """How often each code occurs: see `empty_counts`."""
    examples: list[Example]
    """The first images."""
    failures: list[Failure]
    """Images that cannot be used."""
    lost: list[str]
    """Damaged shards, and files that the disk does not give."""

    def figures(self) -> dict[str, float | None]:
        """Return everything that was measured, by its key in metrics.json."""
        return self.quality._asdict() | self.reference


def evaluate(
    model: str,
    tokenizer: Tokenizer,
    inputs: EvaluationInputs,
    reference: ReferenceMetrics,
    progress: Callable[[Iterable[Sample]], Iterable[Sample]] = iter,
) -> Evaluation:
    """Reconstruct images, those of one shape in batches, and measure.

    `progress` wraps the samples while they are read. When no image can be read, raises WorkFailedError with the reason, or
    ValueError when there is none to read.
    """
    examples: list[Example] = []
    sources: list[str] = []
    measured_images = 0

    def pixels() -> Iterable[Pixels]:
        for image in inputs.images(progress(inputs.samples)):
            sources.append(image.sample.source)
            yield stack_pixels([image.pixels])
        if not sources:
            raise inputs.no_image()

    def on_batch(original: Pixels, reconstruction: Pixels) -> None:
        nonlocal measured_images
        if len(examples) < MAX_EXAMPLES:
            pairs = to_images(original), to_images(reconstruction), psnr(original, reconstruction).tolist()
            examples.extend(map(Example, sources[measured_images:], *pairs))
            del examples[MAX_EXAMPLES:]
        measured_images += len(original)
        reference.update(original, reconstruction)

    measured = measure(tokenizer.model, in_batches(pixels(), tokenizer.batch_size), on_batch)
    return Evaluation(
        model=model,
        tokenizer=tokenizer,
        data=inputs.data,
        quality=measured.quality,
        reference=reference.compute(),
        not_measured=reference.not_measured,
        counts=measured.counts,
        examples=examples,
        failures=inputs.failures,
        lost=inputs.lost,
    )
