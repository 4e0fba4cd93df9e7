"""An evaluation on the terminal."""

from rich.table import Table
from rich.text import Text

from ...cli.printing import escape_unprintable
from ...evaluation.token_counts import estimate_note
from ...tokenizer.wording import first_lines, pluralize
from .report import METRICS_FILE, Subject, rows

SHOWN_FAILURES = 5


def summary_table(subject: Subject) -> Table:
    """Return every figure as a table for the terminal, headed by the model and its setting."""
    quality, codes = subject.evaluation.quality, subject.tokenizer.vocab_size
    heading = f"{escape_unprintable(subject.model)}, size {subject.tokenizer.config.preprocessing.size}"
    table = Table()
    for column in (heading, pluralize(quality.images, "image")):
        table.add_column(Text(column))
    for label, value in rows(subject.evaluation).items():
        table.add_row(Text(label), Text(value))
    if quality.tokens < codes:
        table.caption = f"{quality.tokens:,} tokens can use {quality.tokens / codes:.1%} of the codes at most"
    return table


def summary_lines(subject: Subject) -> list[str]:
    """Return a line for everything that has no figure."""
    lines = [f"{name} not measured: {reason}" for name, reason in subject.evaluation.not_measured.items()]
    failed = [f"failed: {failure.source}: {failure.reason}" for failure in subject.failures]
    lines += first_lines(failed, SHOWN_FAILURES, METRICS_FILE)
    lines += filter(None, [estimate_note(subject.evaluation.counts, subject.tokenizer.vocab_size)])
    return lines + [f"lost: {phrase}" for phrase in subject.lost]
