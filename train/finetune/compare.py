"""Measures the tokenizer before and after a fine-tuning on the same images."""

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor

from ...cli.progress import track
from ...evaluation.quality import Measurement, measure
from ...evaluation.reference_metrics import ReferenceMetrics
from ...evaluation.rows import finite_figures, missing_notes, quality_rows
from ...evaluation.usage import codes_text
from ...images.preprocessing import to_images, to_pixels
from ...report.content import Table
from ...tokenizer.devices import default_device
from ...tokenizer.errors import WorkFailedError
from ...tokenizer.files import write_whole
from ...tokenizer.folder.fingerprint import fingerprint
from ...tokenizer.folder.save_load import LoadedTokenizer
from ...tokenizer.numerics.exact import in_batches
from ...tokenizer.shapes import Pixels
from ...tokenizer.wording import pluralize
from ..outputs import SAMPLES
from .prepare import Finetuning

METRICS_FILE = "metrics.json"


class Evaluated(NamedTuple):
    """A tokenizer measured on the evaluation images."""

    loaded: LoadedTokenizer
    measurement: Measurement
    reference: dict[str, float]
    """Values of the reference metrics, by name."""
    not_measured: dict[str, str]
    """Reasons by the name of the reference metric."""
    examples: list[tuple[Image.Image, Image.Image]]
    """The first images, each with its reconstruction."""

    def figures(self) -> dict[str, float | None]:
        """Return everything that was measured, by its key in metrics.json."""
        return self.measurement.quality._asdict() | self.reference


class Comparison(NamedTuple):
    """A tokenizer before and after its fine-tuning."""

    before: Evaluated
    after: Evaluated
    table: Table
    metrics: dict[str, Any]
    """The content of metrics.json."""

    @property
    def notes(self) -> list[str]:
        """A sentence for each reference metric that could not be measured."""
        return missing_notes(self.metrics["not_measured"])


def compare(run: Finetuning, after: LoadedTokenizer, reference: Callable[[], ReferenceMetrics]) -> Comparison:
    """Measure both tokenizers and write metrics.json; `reference` builds the reference metrics of each.

    Raises WorkFailedError if too many images are unreadable, or the two were measured on different images.
    """
    entries = run.entries(run.split.val)
    run.tell(f"evaluating on {pluralize(len(entries), 'image')}, before and after")
    warned: set[str] = set()

    def warn_once(warning: str) -> None:
        if warning not in warned:
            warned.add(warning)
            run.warn(warning)

    def evaluated(loaded: LoadedTokenizer) -> Evaluated:
        images = run.reader.readable(entries, run.config.data.unreadable_limit, warn_once)
        return _evaluate(loaded, track(images, "images", len(entries), run.verbosity.quiet), reference())

    first, second = evaluated(run.before), evaluated(after)
    counts = [each.measurement.quality.images for each in (first, second)]
    if counts[0] != counts[1]:
        raise WorkFailedError(
            f"{counts[0]} images could be read to evaluate the tokenizer before, and {counts[1]} after, so the figures cannot "
            "be compared: check the disk and run the same command again."
        )
    metrics = {
        "images": counts[0],
        "evaluated": run.split.note,
        "before": _metrics(first),
        "after": _metrics(second),
        "not_measured": first.not_measured | second.not_measured,
    }
    write_whole(run.config.out / METRICS_FILE, (json.dumps(metrics, indent=2) + "\n").encode())
    return Comparison(first, second, _table(run, first, second), metrics)


def _evaluate(loaded: LoadedTokenizer, images: Iterable[Tensor], reference: ReferenceMetrics) -> Evaluated:
    examples: list[tuple[Image.Image, Image.Image]] = []

    def on_batch(original: Pixels, reconstruction: Pixels) -> None:
        missing = SAMPLES - len(examples)
        examples.extend(zip(to_images(original[:missing]), to_images(reconstruction[:missing]), strict=True))
        reference.update(original, reconstruction)

    batches = in_batches(to_pixels(image.unsqueeze(0)) for image in images)
    measurement = measure(loaded.model.to(default_device()), batches, on_batch)
    loaded.model.cpu()
    return Evaluated(loaded, measurement, reference.compute(), reference.not_measured, examples)


def _metrics(evaluated: Evaluated) -> dict[str, Any]:
    loaded = evaluated.loaded
    return {"fingerprint": fingerprint(loaded.model, loaded.config), **finite_figures(evaluated.figures())}


def _table(run: Finetuning, before: Evaluated, after: Evaluated) -> Table:
    sizes = (codes_text(each.loaded.model.quantizer.vocab_size) for each in (before, after))
    rows = [*quality_rows(before.figures(), after.figures()), ["codes", *sizes, ""]]
    return Table(["data.val" if run.config.data.val else "held-out images", "before", "after", "better"], rows)
