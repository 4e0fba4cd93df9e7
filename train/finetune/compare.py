"""Measures the tokenizer before and after a fine-tuning on the same images, as metrics.json and as a page."""

import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, NamedTuple

from torch import Tensor

from ...cli.progress import track
from ...evaluation.quality import measure
from ...evaluation.reference_metrics import ReferenceMetrics
from ...evaluation.rows import finite_figures, headline_figures, missing_notes, quality_rows
from ...evaluation.usage import codes_text
from ...images.preprocessing import to_images, to_pixels
from ...report import content
from ...report.codebooks import codebook_views
from ...report.page import render
from ...tokenizer.devices import default_device
from ...tokenizer.errors import WorkFailedError
from ...tokenizer.files import write_whole
from ...tokenizer.folder.fingerprint import fingerprint
from ...tokenizer.folder.save_load import LoadedTokenizer
from ...tokenizer.numerics.exact import in_batches
from ...tokenizer.shapes import Pixels
from ...tokenizer.wording import pluralize
from ..report import REPORT_FILE, read_logs, run_charts
from ..samples import SAMPLES
from .prepare import CONFIG_FILE, STAGES_FOLDER, Finetuning

METRICS_FILE = "metrics.json"


class Evaluated(NamedTuple):
    """A tokenizer measured on the evaluation images."""

    loaded: LoadedTokenizer
    figures: dict[str, Any]
    """Everything that was measured, by its key in metrics.json."""
    counts: Tensor
    """How often each code occurs."""
    not_measured: dict[str, str]
    """Reasons by the name of the reference metric."""
    examples: list[content.Comparison]


class Comparison(NamedTuple):
    """A tokenizer before and after its fine-tuning."""

    before: Evaluated
    after: Evaluated
    table: content.Table
    metrics: dict[str, Any]
    """The content of metrics.json."""
    notes: list[str]
    """A sentence for each reference metric that could not be measured."""


def compare(run: Finetuning, after: LoadedTokenizer, reference: Callable[[], ReferenceMetrics]) -> Comparison:
    """Measure both tokenizers and write metrics.json; `reference` builds the reference metrics of each.

    Raises WorkFailedError if too many images are unreadable, or the two were measured on different images.
    """
    entries = run.images.of(run.val)
    run.tell(f"evaluating on {pluralize(len(entries), 'image')}, before and after")
    warn_once = cache(run.warn)

    def evaluated(loaded: LoadedTokenizer) -> Evaluated:
        images = run.reader.readable(entries, run.config.data.unreadable_limit, warn_once)
        return _evaluate(loaded, track(images, "images", len(entries), run.verbosity.quiet), reference())

    sides = {"before": evaluated(run.before), "after": evaluated(after)}
    first, second = sides.values()
    images = first.figures["images"]
    if images != second.figures["images"]:
        raise WorkFailedError(
            f"{images} images could be read to evaluate the tokenizer before, and {second.figures['images']} after, so the "
            "figures cannot be compared: check the disk and run the same command again."
        )
    metrics: dict[str, Any] = {"images": images, "evaluated": run.split}
    for side, each in sides.items():
        metrics[side] = {"fingerprint": fingerprint(*each.loaded), **finite_figures(each.figures)}
    metrics["not_measured"] = first.not_measured | second.not_measured
    write_whole(run.config.out / METRICS_FILE, (json.dumps(metrics, indent=2) + "\n").encode())
    sizes = (codes_text(each.loaded.model.quantizer.vocab_size) for each in sides.values())
    table = content.Table(
        ["data.val" if run.config.data.val else "held-out images", *sides, "better"],
        [*quality_rows(first.figures, second.figures), ["codes", *sizes, ""]],
    )
    return Comparison(first, second, table, metrics, missing_notes(metrics["not_measured"]))


def _evaluate(loaded: LoadedTokenizer, images: Iterable[Tensor], reference: ReferenceMetrics) -> Evaluated:
    examples: list[content.Comparison] = []

    def on_batch(original: Pixels, reconstruction: Pixels) -> None:
        missing = SAMPLES - len(examples)
        names = [f"image {number}" for number in range(len(examples) + 1, SAMPLES + 1)]
        pairs = to_images(original[:missing]), to_images(reconstruction[:missing])
        examples.extend(map(content.Comparison, names, *pairs))
        reference.update(original, reconstruction)

    batches = in_batches(to_pixels(image.unsqueeze(0)) for image in images)
    quality, counts = measure(loaded.model.to(default_device()), batches, on_batch)
    loaded.model.cpu()
    return Evaluated(loaded, quality._asdict() | reference.compute(), counts, reference.not_measured, examples)


def write_report(run: Finetuning, compared: Comparison) -> None:
    """Write report.html: figures and images before and after, and the curves of the stages."""
    out = run.config.out
    charts: list[content.Chart] = []
    notes = [*compared.notes]
    for stage in sorted((out / STAGES_FOLDER).iterdir()):
        logs = read_logs(stage)
        notes += logs.problems
        charts += [chart._replace(title=f"{stage.name}: {chart.title}") for chart in run_charts(logs.lines)]
    before, after = compared.before, compared.after
    page = content.Report(
        title=out.resolve().name,
        subtitle=f"fine-tuned from {run.config.model}; {run.split}",
        figures={
            **headline_figures(after.figures),
            "change of PSNR": f"{after.figures['psnr'] - before.figures['psnr']:+.2f} dB",
        },
        notes=notes,
        charts=charts,
        codebooks=codebook_views(after.loaded.model.quantizer, after.counts),
        comparisons=after.examples,
        tables={"Before and after": compared.table},
        config=(out / CONFIG_FILE).read_text(),
        environment=content.environment(default_device()),
    )
    write_whole(out / REPORT_FILE, render(page).encode())
