"""A comparison of tokenizers as metrics.json, as a page and on the terminal."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from ...cli.printing import escape_unprintable
from ...evaluation.rows import finite_figures, missing_notes
from ...evaluation.usage import estimate_note
from ...report import content
from ...report.page import render
from ...report.side_by_side import usage_curve
from ...tokenizer.files import write_whole
from ...tokenizer.wording import first_lines, pluralize
from .compare import Compared, Comparison, Measured
from .compare_rows import sections
from .published import NOTE, published_facts, published_metrics
from .results import MAX_FAILURES, METRICS_FILE, REPORT_FILE, not_measured_lines

MAX_IMAGES = 8
"""Images on the page."""
BORDERS = 3
"""Columns of the terminal that the padding and the border of a table's column take."""


def comparison_metrics(comparison: Comparison) -> dict[str, Any]:
    """Return the content of metrics.json."""
    preprocessing = comparison.crop.preprocessing
    return {
        "data": comparison.data,
        "images": len(comparison.compared[0].own.sources),
        "common_crop": {
            "preprocessing": preprocessing.model_dump() if preprocessing else None,
            "choice": comparison.crop.sentence,
        },
        "models": [
            {
                "model": each.model,
                "name": each.name,
                "fingerprint": each.fingerprint,
                "own_crop": _facts(each.own),
                "common_crop": _facts(each.common) if each.common else None,
                "usage_is_estimated": each.is_estimated,
                "published": published_facts(each.own.figures, published_metrics(each.config)),
            }
            for each in comparison.compared
        ],
        "failures": [asdict(failure) for failure in comparison.failures],
        "lost": comparison.lost,
    }


def _facts(measured: Measured) -> dict[str, Any]:
    return {
        "preprocessing": measured.preprocessing.model_dump(),
        **finite_figures(measured.figures),
        "not_measured": measured.not_measured,
    }


def write_comparison(folder: Path, comparison: Comparison) -> tuple[Path, Path]:
    """Write metrics.json and report.html, and return their paths."""
    files = folder / METRICS_FILE, folder / REPORT_FILE
    write_whole(files[0], (json.dumps(comparison_metrics(comparison), indent=2) + "\n").encode())
    write_whole(files[1], render(_report(comparison)).encode())
    return files


def _report(comparison: Comparison) -> content.Report:
    compared = comparison.compared
    names = [each.name for each in compared]
    images = pluralize(len(compared[0].own.sources), "image")
    rows = _image_rows(comparison)
    return content.Report(
        title=f"{', '.join(names[:-1])} and {names[-1]}",
        subtitle=f"{images} of {', '.join(comparison.data)}, float32",
        notes=[f"{each.name}: {note}" for each in compared for note in missing_notes(each.own.not_measured)]
        + [f"{failure.source} was left out: {failure.reason}." for failure in comparison.failures]
        + [f"Lost: {phrase}" for phrase in comparison.lost],
        comparisons=[] if rows else _own_examples(compared),
        config="\n\n".join(f"{each.name}\n{each.config.model_dump_json(indent=2)}" for each in compared),
        environment={
            **{f"fingerprint of {each.name}": each.fingerprint for each in compared},
            **content.environment(),
        },
        side_by_side=content.SideBySide(
            columns=names,
            explanation=_explanation(comparison),
            sections=sections(comparison),
            images=rows,
            usage=[usage_curve(each.name, each.own.counts) for each in compared if not each.is_estimated],
        ),
    )


def _explanation(comparison: Comparison) -> list[str]:
    sentences = [
        "On its own crop, a tokenizer gets the images with its own preprocessing, and its reconstructions are compared with "
        "those pixels.",
        comparison.crop.sentence,
    ]
    tokens = [f"{each.own.figures['tokens']:,} with {each.name}" for each in comparison.compared]
    sentences.append(
        f"Usage is the fraction of the codes that occur on these images, over all tokens of a codebook ({', '.join(tokens)}); "
        "even use shows what tokens drawn at random from all codes would reach."
    )
    return sentences + ([NOTE] if any(published_metrics(each.config) for each in comparison.compared) else [])


def _image_rows(comparison: Comparison) -> list[content.ImageRow]:
    """Return the first images on the common crop; none if there is no common crop, or no decoder."""
    decoded = [
        (each.name, each.common.examples) for each in comparison.compared if each.common and each.common.examples
    ]
    rows = []
    for index, example in enumerate(decoded[0][1][:MAX_IMAGES] if decoded else []):
        pairs = {
            f"{name} · {examples[index].psnr:.2f} dB": examples[index].reconstruction for name, examples in decoded
        }
        rows.append(content.ImageRow(example.source, example.original, pairs))
    return rows


def _own_examples(compared: Sequence[Compared]) -> list[content.Comparison]:
    return [
        content.Comparison(
            f"{each.name} · {example.source} · {example.psnr:.2f} dB", example.original, example.reconstruction
        )
        for examples in zip(
            *([(each, one) for one in each.own.examples[:MAX_IMAGES]] for each in compared), strict=False
        )
        for each, example in examples
    ]


def comparison_tables(comparison: Comparison, width: int) -> list[Table]:
    """Return all figures as a table, or as several below each other if it would be wider than `width` columns."""
    parts = sections(comparison)
    labels = [text for part in parts for text in (part.title, *(_label(row) for row in part.rows))]
    cells = [cell for part in parts for cells in (part.conditions, *(row.cells for row in part.rows)) for cell in cells]
    column = max(map(len, cells)) + BORDERS
    room = (width - 1 - max(map(len, labels)) - len("better") - 2 * BORDERS) // column
    count = len(comparison.compared)
    per_table = -(-count // -(-count // max(1, room)))
    return [_table(comparison, parts, range(count)[start : start + per_table]) for start in range(0, count, per_table)]


def _table(comparison: Comparison, parts: list[content.ComparedSection], columns: range) -> Table:
    table = Table()
    table.add_column(Text(pluralize(len(comparison.compared[0].own.sources), "image")))
    for index in columns:
        table.add_column(Text(escape_unprintable(comparison.compared[index].name)), justify="right", overflow="fold")
    table.add_column("better")
    for part in parts:
        table.add_row(Text(part.title, "bold"), *(Text(part.conditions[index], "bold") for index in columns), "")
        for row in part.rows:
            values = (Text(row.cells[index], "bold" if index in row.best else "") for index in columns)
            table.add_row(Text(_label(row)), *values, row.better)
        table.add_section()
    return table


def _label(row: content.ComparedRow) -> str:
    return f"  {row.label}" if row.is_detail else row.label


def comparison_lines(comparison: Comparison) -> list[str]:
    """Return the lines below the table: how it was measured, and what has no figure."""
    compared = comparison.compared
    lines = [comparison.crop.sentence]
    lines += [NOTE] if any(published_metrics(each.config) for each in compared) else []
    for each in compared:
        lines += [f"{each.name}: {line}" for line in not_measured_lines(each.own.not_measured)]
        lines += [f"{each.name}: {note}" for note in [estimate_note(each.own.counts, each.vocab_size)] if note]
    failed = [f"failed: {failure.source}: {failure.reason}" for failure in comparison.failures]
    return lines + first_lines(failed, MAX_FAILURES, METRICS_FILE) + [f"lost: {phrase}" for phrase in comparison.lost]
