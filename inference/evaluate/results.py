"""An evaluation as metrics.json, as a page and on the terminal."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from ...cli.printing import escape_unprintable
from ...evaluation.rows import finite_figures, headline_figures, missing_notes, quality_rows
from ...evaluation.usage import codes_text, estimate_note, is_hashed
from ...report import content
from ...report.codebooks import codebook_views
from ...report.page import render
from ...tokenizer.decoders.base import PLAIN
from ...tokenizer.files import write_whole
from ...tokenizer.wording import first_lines, pluralize
from ..arithmetic import DecoderChoice
from .evaluation import Evaluation
from .prior import prior_chart, prior_rows, prior_sentence
from .published import NOTE, published_facts, published_metrics, published_rows

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
MAX_FAILURES = 5
MISSING = "-"


def metrics(evaluation: Evaluation) -> dict[str, Any]:
    """Return the content of metrics.json."""
    tokenizer, inputs = evaluation.tokenizer, evaluation.inputs
    published = published_facts(evaluation.figures(), published_metrics(tokenizer.config))
    return {
        "model": evaluation.model,
        "fingerprint": tokenizer.fingerprint,
        "preprocessing": tokenizer.config.preprocessing.model_dump(),
        "data": inputs.data,
        **decoder_facts(evaluation.decoder),
        **finite_figures(evaluation.figures()),
        "usage_is_estimated": is_hashed(evaluation.measured.counts, tokenizer.vocab_size),
        **({"prior": evaluation.prior.facts()} if evaluation.prior else {}),
        **({"published": published} if published else {}),
        "not_measured": evaluation.not_measured,
        "failures": [asdict(failure) for failure in inputs.failures],
        "lost": inputs.lost,
    }


def decoder_facts(decoder: DecoderChoice) -> dict[str, Any]:
    """Return the entries of metrics.json that name an extra decoder and its seed."""
    return {} if decoder.name == PLAIN else {"decoder": decoder.name, "seed": decoder.seed}


def decoder_phrase(decoder: DecoderChoice) -> str:
    """Return what a heading says of an extra decoder."""
    return "" if decoder.name == PLAIN else f", decoder {decoder.name}, seed {decoder.seed}"


def write_results(folder: Path, figures: Mapping[str, Any], report: content.Report) -> tuple[Path, Path]:
    """Write metrics.json and report.html, and return their paths."""
    files = folder / METRICS_FILE, folder / REPORT_FILE
    write_whole(files[0], (json.dumps(figures, indent=2) + "\n").encode())
    write_whole(files[1], render(report).encode())
    return files


def evaluation_report(evaluation: Evaluation) -> content.Report:
    """Return the page of an evaluation."""
    tokenizer, inputs, figures = evaluation.tokenizer, evaluation.inputs, evaluation.figures()
    images = pluralize(evaluation.measured.quality.images, "image")
    tables = {"All figures": content.Table(["figure", "value", "better"], quality_rows(figures))}
    if evaluation.prior:
        tables["Prior"] = content.Table(["prior", "value"], prior_rows(evaluation.prior))
    published = published_rows(figures, published_metrics(tokenizer.config), MISSING)
    if published:
        header = ["figure", "measured", "published", "difference"]
        tables[f"As published. {NOTE}"] = content.Table(header, list(published.values()))
    return content.Report(
        title=evaluation.model,
        subtitle=f"{images} of {', '.join(inputs.data)}, size {tokenizer.config.preprocessing.size}, float32"
        + decoder_phrase(evaluation.decoder),
        figures=headline_figures(figures),
        notes=missing_notes(evaluation.not_measured)
        + [f"{failure.source} was left out: {failure.reason}." for failure in inputs.failures]
        + [f"Lost: {phrase}" for phrase in inputs.lost],
        charts=[prior_chart({"validation": evaluation.prior})] if evaluation.prior else [],
        codebooks=codebook_views(tokenizer.model.quantizer, evaluation.measured.counts),
        comparisons=[
            content.Comparison(f"{example.source} · {example.psnr:.2f} dB", example.original, example.reconstruction)
            for example in evaluation.examples
        ],
        tables=tables,
        config=tokenizer.config.model_dump_json(indent=2),
        environment={"fingerprint": tokenizer.fingerprint, **content.environment(tokenizer.device)},
    )


def summary_table(evaluation: Evaluation) -> Table:
    """Return all figures as a table, under the name of the model and its image size."""
    quality, codes = evaluation.measured.quality, evaluation.tokenizer.vocab_size
    heading = f"{escape_unprintable(evaluation.model)}, size {evaluation.tokenizer.config.preprocessing.size}"
    heading += decoder_phrase(evaluation.decoder)
    table = Table()
    for column in (heading, pluralize(quality.images, "image"), "better"):
        table.add_column(Text(column))
    for row in quality_rows(evaluation.figures()):
        table.add_row(*map(Text, row))
    for published in published_rows(
        evaluation.figures(), published_metrics(evaluation.tokenizer.config), MISSING
    ).values():
        table.add_section()
        table.add_row(Text(f"{published.label}, as published"), published.published)
        table.add_row("  difference", published.difference)
    if quality.tokens < codes:
        most = math.ceil(1000 * quality.tokens / codes) / 1000
        table.caption = f"{quality.tokens:,} tokens can use at most {most:.1%} of the {codes_text(codes)} codes"
    return table


def not_measured_lines(reasons: Mapping[str, str]) -> list[str]:
    """Return a line for the figures that were not measured for one reason; `reasons` has it by their names."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return [f"{', '.join(group)} not measured: {reason}" for reason, group in names.items()]


def summary_lines(evaluation: Evaluation) -> list[str]:
    """Return a line for everything that has no figure."""
    failed = [f"failed: {failure.source}: {failure.reason}" for failure in evaluation.inputs.failures]
    lines = first_lines(failed, MAX_FAILURES, METRICS_FILE)
    lines += filter(None, [estimate_note(evaluation.measured.counts, evaluation.tokenizer.vocab_size)])
    lines += [prior_sentence(evaluation.prior)] if evaluation.prior else []
    lines += [NOTE] if published_metrics(evaluation.tokenizer.config) else []
    return lines + [f"lost: {phrase}" for phrase in evaluation.inputs.lost]
