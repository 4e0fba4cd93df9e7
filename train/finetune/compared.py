"""Two sides of a comparison, measured on the same images: what was found, and how it is written down."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from torch import Tensor

from ...cli.progress import track
from ...evaluation.reference_metrics import ReferenceMetrics
from ...evaluation.rows import missing_notes, quality_rows
from ...images.file_entry import Entry
from ...images.preprocessing import to_images
from ...report import content
from ...tokenizer.errors import WorkFailedError
from ...tokenizer.files import write_whole
from ...tokenizer.folder.save_load import LoadedTokenizer
from ...tokenizer.shapes import Pixels
from ...tokenizer.wording import pluralize
from ..samples import SAMPLES
from .prepare import Finetuning

METRICS_FILE = "metrics.json"


class Evaluated(NamedTuple):
    """A tokenizer measured on the evaluation images, with one of its decoders."""

    loaded: LoadedTokenizer
    figures: dict[str, Any]
    """Everything that was measured, by its key in metrics.json."""
    counts: Tensor | None
    """How often each code occurs; None where decoders of the same tokens are compared."""
    not_measured: dict[str, str]
    """Reasons by the name of the figure."""
    examples: list[content.Comparison]


Evaluate: TypeAlias = Callable[[Iterable[Tensor]], Evaluated]
"""Measure one side on images, uint8 `h w c`."""


class Comparison(NamedTuple):
    """A tokenizer before and after its fine-tuning, or with its plain decoder and with the new one."""

    before: Evaluated
    after: Evaluated
    table: content.Table
    metrics: dict[str, Any]
    """The content of metrics.json."""
    notes: list[str]
    """A sentence for the figures that could not be measured."""


class Shown:
    """Keeps the first images beside their reconstructions, and shows all to the reference metrics."""

    def __init__(self, reference: ReferenceMetrics):
        self.reference = reference
        self.examples: list[content.Comparison] = []

    def add(self, original: Pixels, reconstruction: Pixels) -> None:
        """Take a batch and its reconstruction, `b c h w` in [-1, 1]."""
        missing = SAMPLES - len(self.examples)
        names = [f"image {number}" for number in range(len(self.examples) + 1, SAMPLES + 1)]
        pairs = to_images(original[:missing]), to_images(reconstruction[:missing])
        self.examples.extend(map(content.Comparison, names, *pairs))
        self.reference.update(original, reconstruction)


def evaluate_sides(
    run: Finetuning, what: str, entries: Sequence[Entry], sides: Mapping[str, Evaluate]
) -> dict[str, Evaluated]:
    """Measure both sides, `what` each, on the same images; raise WorkFailedError if too many of them are unreadable.

    The same is raised if the sides were measured on different images.
    """
    run.tell(f"evaluating on {pluralize(len(entries), 'image')}, {' and '.join(sides)}")
    warn_once = cache(run.warn)
    found = {}
    for side, evaluate in sides.items():
        images = run.reader.readable(entries, run.config.data.unreadable_limit, warn_once)
        found[side] = evaluate(track(images, "images", len(entries), run.verbosity.quiet))
    (first, images), (second, others) = ((side, each.figures["images"]) for side, each in found.items())
    if images != others:
        raise WorkFailedError(
            f"{images} images could be read to evaluate the {what} {first}, and {others} to evaluate the {what} {second}, so "
            "the figures cannot be compared: check the disk and run the same command again."
        )
    return found


def written(
    run: Finetuning, sides: Mapping[str, Evaluated], metrics: Mapping[str, Any], rows: Sequence[Sequence[str]] = ()
) -> Comparison:
    """Write metrics.json, which `metrics` is part of, and return the comparison; `rows` end its table."""
    first, second = sides.values()
    common = {"images": first.figures["images"], "evaluated": run.split}
    missing = first.not_measured | second.not_measured
    whole = common | {**metrics, "not_measured": missing}
    write_whole(run.config.out / METRICS_FILE, (json.dumps(whole, indent=2) + "\n").encode())
    table = content.Table(
        ["data.val" if run.config.data.val else "held-out images", *sides, "better"],
        [*quality_rows(first.figures, second.figures), *rows],
    )
    return Comparison(first, second, table, whole, missing_notes(missing))
