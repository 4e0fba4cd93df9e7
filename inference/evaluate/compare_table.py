"""A comparison on the terminal: its table, and the lines below."""

import textwrap
from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from ...cli.printing import escape_unprintable
from ...evaluation.usage import estimate_note
from ...report import content
from ...tokenizer.wording import first_lines, pluralize
from .compare import Comparison
from .compare_learnability import prior_of
from .compare_rows import said_once, sections
from .published import NOTE, published_metrics
from .results import MAX_FAILURES, METRICS_FILE, decoder_phrase, not_measured_lines

BETTER = "better"
NARROWEST = 9
"""Least width of a column, over which names are broken."""
BORDERS = 3
"""Columns of the terminal that the padding and the border of a table's column take."""


def comparison_tables(comparison: Comparison, width: int) -> list[Table]:
    """Return all figures as a table, or as several below each other if it would be wider than `width` columns."""
    parts = sections(comparison)
    labels = [text for part in parts for text in (part.title, *(_label(row) for row in part.rows))]
    cells = [cell for part in parts for row in (part.conditions, *(row.cells for row in part.rows)) for cell in row]
    column = max(NARROWEST, *map(len, cells))
    room = (width - 1 - max(map(len, labels)) - len(BETTER) - 2 * BORDERS) // (column + BORDERS)
    count = len(comparison.compared)
    per_table = -(-count // -(-count // max(1, room)))
    blocks = [range(count)[start : start + per_table] for start in range(0, count, per_table)]
    return [_table(comparison, parts, block, column) for block in blocks]


def _table(comparison: Comparison, parts: list[content.ComparedSection], columns: range, width: int) -> Table:
    table = Table()
    table.add_column(Text(pluralize(len(comparison.compared[0].own.sources), "image")), no_wrap=True)
    for index in columns:
        lines = textwrap.wrap(escape_unprintable(comparison.compared[index].name), width)
        table.add_column(Text("\n".join(lines)), justify="right", no_wrap=True)
    table.add_column(BETTER)
    for part in parts:
        table.add_row(Text(part.title, "bold"), *(Text(part.conditions[index], "bold") for index in columns), "")
        for row in part.rows:
            values = (Text(row.cells[index], "bold" if index in row.best else "") for index in columns)
            table.add_row(Text(_label(row)), *values, row.better)
        table.add_section()
    return table


def _label(row: content.ComparedRow) -> str:
    return f"  {row.label}" if row.is_detail else row.label


def comparison_lines(comparison: Comparison, told: Mapping[str, str]) -> list[str]:
    """Return the lines below the table: how it was measured, and what has no figure but for the reasons that were told."""
    compared = comparison.compared
    lines = [comparison.crop.sentence]
    lines += [f"Measured with{phrase.removeprefix(',')}."] if (phrase := decoder_phrase(comparison.decoder)) else []
    lines += [sentence for each in compared[:1] if (sentence := prior_of(each))]
    lines += [NOTE] if any(published_metrics(each.config) for each in compared) else []
    lines += said_once(
        compared,
        lambda reasons: not_measured_lines({name: why for name, why in reasons.items() if told.get(name) != why}),
    )
    for each in compared:
        lines += [f"{each.name}: {note}" for note in [estimate_note(each.own.counts, each.vocab_size)] if note]
    failed = [f"failed: {failure.source}: {failure.reason}" for failure in comparison.failures]
    return lines + first_lines(failed, MAX_FAILURES, METRICS_FILE) + [f"lost: {phrase}" for phrase in comparison.lost]
