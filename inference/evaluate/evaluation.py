"""Measure a loaded tokenizer on the images that users give."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from ...evaluation.metrics import psnr
from ...evaluation.prior.measure import PRIOR_FIGURES, Prior
from ...evaluation.quality import Measurement, measure
from ...evaluation.reference_metrics import ReferenceMetrics
from ...images.preprocessing import stack_pixels, to_images
from ...images.tars.blocks import DamagedShard
from ...tokenizer.errors import WorkFailedError
from ...tokenizer.numerics.exact import DEVICE_BATCH, in_batches
from ...tokenizer.shapes import Pixels
from ...tokenizer.wording import pluralize
from ..api import Tokenizer
from ..arithmetic import PLAIN_DECODER, DecoderChoice
from ..inputs.input_files import UnreadableInputError
from ..inputs.plan import plan_shards
from ..inputs.reading import ReadImage, read_image
from ..inputs.samples import Failure, Sample, ShardTask
from .prior import PriorRequest, TokensOfImages

MAX_EXAMPLES = 12
NO_DECODER = "The tokenizer has no decoder, so only its codes and the speed of its encoder are measured."


class EvaluationInputs:
    """Lists the images of DATA, and reads them in order with a tokenizer's preprocessing."""

    def __init__(self, data: Sequence[str], out: Path | None = None):
        self.data = list(data)
        self.failures: list[Failure] = []
        self.lost: list[str] = []
        """A phrase for each damaged shard and for each file that the disk does not give."""
        shards = plan_shards(self.data, shard_size=1000, out=str(out) if out else None).shards
        self.samples = [sample for shard in shards for sample in self._listed(shard)]

    def again(self) -> "EvaluationInputs":
        """Return the same images, to be read once more; call it before they are read."""
        other = copy.copy(self)
        other.failures, other.lost = [], [*self.lost]
        return other

    def images(self, samples: Iterable[Sample], tokenizer: Tokenizer) -> Iterator[ReadImage]:
        """Yield the images that can be used; list the others in `failures` and `lost`. Raise WorkFailedError for none."""
        preprocessing, usable = tokenizer.config.preprocessing, 0
        for sample in samples:
            try:
                read = read_image(sample, preprocessing, tokenizer.downsample, tokenizer.grid)
            except UnreadableInputError as error:
                self.lost.append(str(error))
                continue
            if isinstance(read, ReadImage):
                usable += 1
                yield read
            else:
                self.failures.append(read.row)
        if self.lost and not usable:
            raise WorkFailedError(self.lost[0])
        if self.failures and not usable:
            row, *rest = self.failures
            others = f", nor can {pluralize(len(rest), 'other')}" if rest else ""
            raise WorkFailedError(
                f"There is no image to evaluate on: {row.source} cannot be used ({row.reason}){others}: give images that "
                "can be read."
            )

    def _listed(self, shard: ShardTask) -> list[Sample]:
        try:
            return list(shard.source.list_samples().samples)
        except DamagedShard as error:
            self.lost.append(str(error))
        except OSError as error:
            self.lost.append(f"{error.filename or shard.name} cannot be read ({error.strerror or error})")
        return []


class Example(NamedTuple):
    """An image beside its reconstruction."""

    source: str
    original: Image.Image
    reconstruction: Image.Image
    psnr: float


class Evaluation(NamedTuple):
    """How good a tokenizer is on some images, with its own preprocessing and in float32."""

    model: str
    tokenizer: Tokenizer
    inputs: EvaluationInputs
    measured: Measurement
    reference: dict[str, float]
    not_measured: dict[str, str]
    """Reasons by the name of the figure."""
    examples: list[Example]
    sources: list[str]
    """The images, in order."""
    prior: Prior | None = None
    """How learnable the tokens are, if that was asked for and could be measured."""
    decoder: DecoderChoice = PLAIN_DECODER
    """Which of the tokenizer's decoders made the reconstructions, with which seed."""

    def figures(self) -> dict[str, float | None]:
        """Return everything that was measured, by its key in metrics.json."""
        prior = self.prior.figures() if self.prior else {}
        return self.measured.quality._asdict() | prior | self.reference


def evaluate(
    model: str,
    tokenizer: Tokenizer,
    inputs: EvaluationInputs,
    reference: ReferenceMetrics,
    progress: Callable[[Iterable[Sample]], Iterable[Sample]] = iter,
    prior: PriorRequest | None = None,
    decoder: DecoderChoice = PLAIN_DECODER,
) -> Evaluation:
    """Reconstruct images and measure; `progress` wraps the samples. Raise WorkFailedError when no image can be read.

    Without a decoder nothing is reconstructed, and the metrics of reconstructions are not measured. A `prior` is trained
    where one is asked for and there are images enough. `decoder` names one of the tokenizer's decoders.
    """
    examples: list[Example] = []
    sources: list[str] = []
    listed = TokensOfImages()

    def pixels() -> Iterable[Pixels]:
        for image in inputs.images(progress(inputs.samples), tokenizer):
            sources.append(image.sample.source)
            listed.keys.append(image.sample.key)
            yield stack_pixels([image.pixels])

    def on_batch(original: Pixels, reconstruction: Pixels) -> None:
        if len(examples) < MAX_EXAMPLES:
            pairs = to_images(original), to_images(reconstruction), psnr(original, reconstruction).tolist()
            examples.extend(map(Example, sources[len(examples) :], *pairs))
        reference.update(original, reconstruction)

    missing = {}
    if not tokenizer.model.has_decoder:
        reference = reference.not_measured_for(NO_DECODER)
        missing = dict.fromkeys(("psnr", "ssim"), NO_DECODER)
    batches = in_batches(pixels(), tokenizer.batch_size or DEVICE_BATCH)
    measured = measure(tokenizer.model, batches, on_batch, listed.add if prior else None, *decoder)
    learned = prior.measure(listed, tokenizer) if prior else None
    if isinstance(learned, str):
        missing |= dict.fromkeys(PRIOR_FIGURES, learned)
    return Evaluation(
        model,
        tokenizer,
        inputs,
        measured,
        reference.compute(),
        missing | reference.not_measured,
        examples[:MAX_EXAMPLES],
        sources,
        learned if isinstance(learned, Prior) else None,
        decoder,
    )
