"""An evaluation as metrics.json and as a page."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from ...evaluation.token_counts import is_hashed
from ...report.content import Comparison, Report, Table
from ...report.environment import environment
from ...report.page import render
from ...report.views import codebook_views
from ...tokenizer.files import write_whole
from ...tokenizer.wording import pluralize
from ..api import Tokenizer
from ..inputs.samples import Failure
from .evaluation import Evaluation

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
ROWS = {
    "psnr": ("PSNR", "{:.2f} dB"),
    "ssim": ("SSIM", "{:.4f}"),
    "lpips": ("LPIPS (VGG)", "{:.4f}"),
    "rfid": ("rFID (Inception)", "{:.3f}"),
    "usage": ("codebook usage", "{:.1%}"),
    "perplexity": ("perplexity", "{:,.0f}"),
    "distortion": ("distortion", "{:.6f}"),
    "effective_rank": ("effective rank of the codes", "{:.2f}"),
    "latent_effective_rank": ("effective rank of the latents", "{:.2f}"),
    "tokens": ("tokens", "{:,}"),
    "bits_per_pixel": ("bits per pixel", "{:.4f}"),
    "images_per_second": ("images per second", "{:.1f}"),
}
HEADLINES = ("PSNR", "SSIM", "LPIPS (VGG)", "rFID (Inception)", "codebook usage", "perplexity", "bits per pixel")


class Subject(NamedTuple):
    """What was evaluated, and what came of it."""

    model: str
    tokenizer: Tokenizer
    data: list[str]
    evaluation: Evaluation
    failures: list[Failure]
    lost: list[str]
    """Damaged shards, and files that the disk does not give."""
    not_measured: dict[str, str]
    """Reasons by the name of the figure."""


def rows(evaluation: Evaluation) -> dict[str, str]:
    """Return every figure, formatted, by its label."""
    values = evaluation.quality._asdict() | evaluation.judged
    shown = {
        label: "not measured" if values[name] is None else form.format(values[name])
        for name, (label, form) in ROWS.items()
        if name in values
    }
    others = {name: value for name, value in evaluation.judged.items() if name not in ROWS}
    return shown | {f"Frechet distance, {name.partition('/')[2]}": f"{value:.4f}" for name, value in others.items()}


def facts(subject: Subject) -> dict[str, Any]:
    """Return what metrics.json holds; a figure that is not finite, such as the PSNR of equal images, is None."""
    figures = subject.evaluation.quality._asdict() | subject.evaluation.judged
    return {
        "model": subject.model,
        "fingerprint": subject.tokenizer.fingerprint,
        "preprocessing": subject.tokenizer.config.preprocessing.model_dump(),
        "data": subject.data,
        **{name: value if value is not None and math.isfinite(value) else None for name, value in figures.items()},
        "usage_is_estimated": is_hashed(subject.evaluation.counts, subject.tokenizer.vocab_size),
        "not_measured": subject.not_measured,
        "failures": [failure.model_dump() for failure in subject.failures],
        "lost": subject.lost,
    }


def write_metrics(folder: Path, subject: Subject) -> Path:
    """Write metrics.json and return its path."""
    path = folder / METRICS_FILE
    write_whole(path, (json.dumps(facts(subject), indent=2) + "\n").encode())
    return path


def write_page(folder: Path, subject: Subject) -> Path:
    """Write report.html and return its path."""
    tokenizer, evaluation = subject.tokenizer, subject.evaluation
    shown = rows(evaluation)
    preprocessing = tokenizer.config.preprocessing
    images = pluralize(evaluation.quality.images, "image")
    report = Report(
        title=subject.model,
        subtitle=f"{images} of {', '.join(subject.data)}, size {preprocessing.size}, float32",
        figures={label: shown[label] for label in HEADLINES if label in shown},
        notes=[f"{name} was not measured. {reason}" for name, reason in subject.not_measured.items()]
        + [f"{failure.source} was left out: {failure.reason}." for failure in subject.failures]
        + [f"Lost: {phrase}" for phrase in subject.lost],
        codebooks=codebook_views(tokenizer.model.quantizer, evaluation.counts),
        comparisons=[
            Comparison(f"{example.source} · {example.psnr:.2f} dB", example.original, example.reconstruction)
            for example in evaluation.examples
        ],
        tables={"All figures": Table(["figure", "value"], [[label, value] for label, value in shown.items()])},
        config=tokenizer.config.model_dump_json(indent=2),
        environment={"fingerprint": tokenizer.fingerprint, **environment()},
    )
    path = folder / REPORT_FILE
    write_whole(path, render(report).encode())
    return path
