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
from ...tokenizer.decoders.base import PLAIN
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
from .decoder_rows import decoder_rows, stage_folders
from .prepare import Finetuning, few
from .stored_config import CONFIG_FILE

METRICS_FILE = "metrics.json"


class Evaluated(NamedTuple):
    """A tokenizer measured on the evaluation images, with one of its decoders."""

    loaded: LoadedTokenizer
    figures: dict[str, Any]
    """Everything that was measured, by its key in metrics.json."""
    counts: Tensor
    """How often each code occurs."""
    not_measured: dict[str, str]
    """Reasons by the name of the reference metric."""
    examples: list[content.Comparison]


class Comparison(NamedTuple):
    """A tokenizer before and after its fine-tuning, or with its plain decoder and with the new one."""

    before: Evaluated
    after: Evaluated
    table: content.Table
    metrics: dict[str, Any]
    """The content of metrics.json."""
    notes: list[str]
    """A sentence for each reference metric that could not be measured."""


def compare(run: Finetuning, after: LoadedTokenizer, reference: Callable[[], ReferenceMetrics]) -> Comparison:
    """Measure both sides and write metrics.json; `reference` builds the reference metrics of each.

    Raises WorkFailedError if too many images are unreadable, or the two were measured on different images.
    """
    generative = run.config.generative
    compared = [(PLAIN, after), (generative.name, after)] if generative else [("before", run.before), ("after", after)]
    entries = run.images.of(few(run, generative.evaluated) if generative else run.val)
    run.tell(f"evaluating on {pluralize(len(entries), 'image')}, {' and '.join(side for side, _ in compared)}")
    warn_once = cache(run.warn)

    def evaluated(loaded: LoadedTokenizer, decoder: str) -> Evaluated:
        images = run.reader.readable(entries, run.config.data.unreadable_limit, warn_once)
        return _evaluate(loaded, track(images, "images", len(entries), run.verbosity.quiet), reference(), decoder)

    sides = {side: evaluated(loaded, side if generative else PLAIN) for side, loaded in compared}
    first, second = sides.values()
    images = first.figures["images"]
    if images != second.figures["images"]:
        what = "decoder" if generative else "tokenizer"
        raise WorkFailedError(
            f"{images} images could be read to evaluate the {what} {compared[0][0]}, and {second.figures['images']} to "
            f"evaluate the {what} {compared[1][0]}, so the figures cannot be compared: check the disk and run the same "
            "command again."
        )
    metrics: dict[str, Any] = {"images": images, "evaluated": run.split}
    found = {side: finite_figures(each.figures) for side, each in sides.items()}
    if generative:
        metrics |= {"fingerprint": fingerprint(*after), "decoders": found}
    else:
        metrics |= {side: {"fingerprint": fingerprint(*sides[side].loaded), **found[side]} for side in sides}
    metrics["not_measured"] = first.not_measured | second.not_measured
    write_whole(run.config.out / METRICS_FILE, (json.dumps(metrics, indent=2) + "\n").encode())
    sizes = (codes_text(each.loaded.model.quantizer.vocab_size) for each in sides.values())
    table = content.Table(
        ["data.val" if run.config.data.val else "held-out images", *sides, "better"],
        [*quality_rows(first.figures, second.figures), ["codes", *sizes, ""]],
    )
    return Comparison(first, second, table, metrics, missing_notes(metrics["not_measured"]))


def _evaluate(
    loaded: LoadedTokenizer, images: Iterable[Tensor], reference: ReferenceMetrics, decoder: str
) -> Evaluated:
    examples: list[content.Comparison] = []

    def on_batch(original: Pixels, reconstruction: Pixels) -> None:
        missing = SAMPLES - len(examples)
        names = [f"image {number}" for number in range(len(examples) + 1, SAMPLES + 1)]
        pairs = to_images(original[:missing]), to_images(reconstruction[:missing])
        examples.extend(map(content.Comparison, names, *pairs))
        reference.update(original, reconstruction)

    batches = in_batches(to_pixels(image.unsqueeze(0)) for image in images)
    quality, counts = measure(loaded.model.to(default_device()), batches, on_batch, decoder=decoder)
    loaded.model.cpu()
    return Evaluated(loaded, quality._asdict() | reference.compute(), counts, reference.not_measured, examples)


def write_report(run: Finetuning, compared: Comparison) -> None:
    """Write report.html: figures and images before and after, and the curves of the stages."""
    out = run.config.out
    charts: list[content.Chart] = []
    notes = [*compared.notes]
    for stage in stage_folders(run):
        logs = read_logs(stage)
        notes += logs.problems
        charts += [chart._replace(title=f"{stage.name}: {chart.title}") for chart in run_charts(logs.lines)]
    before, after, generative = compared.before, compared.after, run.config.generative
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
        comparisons=[] if generative else after.examples,
        image_rows=decoder_rows(run, generative, before.examples, after.examples) if generative else {},
        tables={"Plain and new decoder" if generative else "Before and after": compared.table},
        config=(out / CONFIG_FILE).read_text(),
        environment=content.environment(default_device()),
    )
    write_whole(out / REPORT_FILE, render(page).encode())
