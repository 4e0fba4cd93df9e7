"""An evaluation as metrics.json and as a page."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...evaluation.rows import headline_figures, quality_rows
from ...evaluation.token_counts import is_hashed
from ...report.content import Comparison, Report, Table
from ...report.environment import environment
from ...report.page import render
from ...report.views import codebook_views
from ...tokenizer.files import write_whole
from ...tokenizer.wording import pluralize
from .evaluation import Evaluation

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"


def metrics(evaluation: Evaluation) -> dict[str, Any]:
    """Return the content of metrics.json; a figure that is not finite, such as the PSNR of equal images, is None."""
    tokenizer, figures = evaluation.tokenizer, evaluation.figures()
    return {
        "model": evaluation.model,
        "fingerprint": tokenizer.fingerprint,
        "preprocessing": tokenizer.config.preprocessing.model_dump(),
        "data": evaluation.data,
        **{name: value if value is not None and math.isfinite(value) else None for name, value in figures.items()},
        "usage_is_estimated": is_hashed(evaluation.counts, tokenizer.vocab_size),
        "not_measured": evaluation.not_measured,
        "failures": [asdict(failure) for failure in evaluation.failures],
        "lost": evaluation.lost,
    }


def write_metrics(folder: Path, evaluation: Evaluation) -> Path:
    """Write metrics.json and return its path."""
    path = folder / METRICS_FILE
    write_whole(path, (json.dumps(metrics(evaluation), indent=2) + "\n").encode())
    return path


def write_page(folder: Path, evaluation: Evaluation) -> Path:
    """Write report.html and return its path."""
    tokenizer, figures = evaluation.tokenizer, evaluation.figures()
    images = pluralize(evaluation.quality.images, "image")
    report = Report(
        title=evaluation.model,
        subtitle=f"{images} of {', '.join(evaluation.data)}, size {tokenizer.config.preprocessing.size}, float32",
        figures=headline_figures(figures),
        notes=[f"{name} was not measured. {reason}" for name, reason in evaluation.not_measured.items()]
        + [f"{failure.source} was left out: {failure.reason}." for failure in evaluation.failures]
        + [f"Lost: {phrase}" for phrase in evaluation.lost],
        codebooks=codebook_views(tokenizer.model.quantizer, evaluation.counts),
        comparisons=[
            Comparison(f"{example.source} · {example.psnr:.2f} dB", example.original, example.reconstruction)
            for example in evaluation.examples
        ],
        tables={"All figures": Table(["figure", "value", "better"], quality_rows(figures))},
        config=tokenizer.config.model_dump_json(indent=2),
        environment={"fingerprint": tokenizer.fingerprint, **environment()},
    )
    path = folder / REPORT_FILE
    write_whole(path, render(report).encode())
    return path
