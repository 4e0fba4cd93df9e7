"""What a fine-tuning did: the tokenizer before and after on images that were held out, as a table and a page."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from ...cli.progress import track
from ...evaluation.quality import Measurement, measure
from ...evaluation.token_counts import MAX_COUNTED
from ...images.preprocessing import to_images, to_pixels
from ...report.content import Chart, Comparison, Report, Table
from ...report.environment import environment
from ...report.page import render
from ...report.views import codebook_views
from ...tokenizer.errors import WorkFailedError
from ...tokenizer.files import write_whole
from ...tokenizer.folder.save_load import LoadedTokenizer, fingerprint
from ...tokenizer.numerics.exact import in_batches
from ...tokenizer.shapes import Pixels
from ...tokenizer.wording import pluralize
from ..best_effort import best_effort
from ..data.read_images import ImageReader
from ..report import REPORT_FILE, read_logs, run_charts
from ..samples import SAMPLES
from .config import CONFIG_FILE, FinetuneConfig
from .stages import STAGES, Finetuned

METRICS_FILE = "metrics.json"
ROWS = {
    "psnr": ("PSNR", "{:.2f} dB"),
    "ssim": ("SSIM", "{:.4f}"),
    "usage": ("codebook usage", "{:.1%}"),
    "perplexity": ("perplexity", "{:,.0f}"),
    "distortion": ("distortion", "{:.3g}"),
    "effective_rank": ("effective rank of the codes", "{:.2f}"),
    "bits_per_pixel": ("bits per pixel", "{:.4f}"),
}


class Judged(NamedTuple):
    """A tokenizer on the held-out images."""

    measured: Measurement
    shown: list[tuple[Image.Image, Image.Image]]
    """The first images, each beside its reconstruction."""


class JudgedBoth(NamedTuple):
    """What came of the fine-tuning."""

    table: Table
    page: Path
    facts: dict[str, Any]
    """What metrics.json holds."""


def judge(loaded: LoadedTokenizer, images: Iterable[Tensor], count: int, device: torch.device, quiet: bool) -> Judged:
    """Measure a tokenizer on images `h w c`, of which there are `count` at most."""
    shown: list[tuple[Image.Image, Image.Image]] = []

    def look(original: Pixels, reconstruction: Pixels) -> None:
        missing = SAMPLES - len(shown)
        shown.extend(zip(to_images(original[:missing]), to_images(reconstruction[:missing]), strict=True))

    pixels = (to_pixels(image.unsqueeze(0)) for image in track(images, "images", count, quiet))
    judged = Judged(measure(loaded.model.to(device), in_batches(pixels), look), shown)
    loaded.model.cpu()
    return judged


def judge_both(
    config: FinetuneConfig,
    done: Finetuned,
    after: LoadedTokenizer,
    device: torch.device,
    report: Callable[[str], None],
    quiet: bool,
) -> JudgedBoth:
    """Measure before and after on the same images, and write metrics.json and report.html.

    Raises WorkFailedError when too many of the images cannot be read.
    """
    before = done.before
    entries = done.listing.of(done.split.val)
    reader = ImageReader(before.config.preprocessing, before.model.downsample, max(1, config.data.workers))
    report(f"judging on {pluralize(len(entries), 'image')}, before and after")
    told: set[str] = set()

    def warn(warning: str) -> None:
        if warning not in told:  # of an image that neither pass can read
            told.add(warning)
            report(f"warning: {warning}")

    def judged(loaded: LoadedTokenizer) -> Judged:
        return judge(loaded, reader.readable(entries, config.data.unreadable_limit, warn), len(entries), device, quiet)

    first, second = judged(before), judged(after)
    numbers = [each.measured.quality.images for each in (first, second)]
    if numbers[0] != numbers[1]:
        raise WorkFailedError(
            f"{numbers[0]} images could be read to judge the tokenizer before, and {numbers[1]} after, so that the figures "
            "cannot be compared: look at the disk and run the same command again."
        )
    sizes = before.model.quantizer.vocab_size, after.model.quantizer.vocab_size
    table = _table(config, first.measured, second.measured, sizes)
    facts = {
        "images": numbers[0],
        "judged": done.split.note,
        "before": {"fingerprint": fingerprint(before.model, before.config), **first.measured.quality._asdict()},
        "after": {"fingerprint": fingerprint(after.model, after.config), **second.measured.quality._asdict()},
    }
    write_whole(config.out / METRICS_FILE, (json.dumps(facts, indent=2) + "\n").encode())
    page = config.out / REPORT_FILE
    with best_effort("the report", lambda warning: report(f"warning: {warning}")):
        write_whole(page, render(_report(config, done, after, table, first, second)).encode())
    return JudgedBoth(table, page, facts)


def _table(config: FinetuneConfig, before: Measurement, after: Measurement, sizes: tuple[int, int]) -> Table:
    rows = []
    for name, (label, form) in ROWS.items():
        old, new = (getattr(measured.quality, name) for measured in (before, after))
        rows.append([label, *("not measured" if value is None else form.format(value) for value in (old, new))])
    rows.append(["codes", *map(_size, sizes)])
    rows.append(["tokens", f"{before.quality.tokens:,}", f"{after.quality.tokens:,}"])
    return Table(["held-out images" if not config.data.val else "data.val", "before", "after"], rows)


def _size(codes: int) -> str:
    # 2^62 with all of its digits, twice, is wider than a terminal.
    return f"2^{codes.bit_length() - 1}" if codes > MAX_COUNTED and codes.bit_count() == 1 else f"{codes:,}"


def _report(
    config: FinetuneConfig, done: Finetuned, after: LoadedTokenizer, table: Table, first: Judged, second: Judged
) -> Report:
    quality = second.measured.quality
    comparisons = [
        Comparison(f"image {number}", original, reconstruction)
        for number, (original, reconstruction) in enumerate(second.shown, 1)
    ]
    charts: list[Chart] = []
    problems: list[str] = []
    for stage in sorted((config.out / STAGES).iterdir()):
        logs = read_logs(stage)
        problems += logs.problems
        charts += [chart._replace(title=f"{stage.name}: {chart.title}") for chart in run_charts(logs.lines)]
    change = quality.psnr - first.measured.quality.psnr
    return Report(
        title=config.out.resolve().name,
        subtitle=f"fine-tuned from {config.model}; {done.split.note}",
        figures={
            "PSNR": f"{quality.psnr:.2f} dB",
            "change": f"{change:+.2f} dB",
            "codebook usage": f"{quality.usage:.1%}",
            "perplexity": f"{quality.perplexity:,.0f}",
        },
        notes=problems,
        charts=charts,
        codebooks=codebook_views(after.model.quantizer, second.measured.counts),
        comparisons=comparisons,
        tables={"Before and after": table},
        config=(config.out / CONFIG_FILE).read_text(),
        environment=environment(),
    )
