"""An evaluation on the terminal."""

import math

from rich.table import Table
from rich.text import Text

from ...cli.printing import escape_unprintable
from ...evaluation.rows import quality_rows
from ...evaluation.token_counts import codes_text, estimate_note
from ...tokenizer.wording import pluralize
from .evaluation import Evaluation
from .report import METRICS_FILE

MAX_FAILURES = 5


def summary_table(evaluation: Evaluation) -> Table:
    """Return all figures as a table, under the name of the model and its image size."""
    quality, codes = evaluation.quality, evaluation.tokenizer.vocab_size
    heading = f"{escape_unprintable(evaluation.model)}, size {evaluation.tokenizer.config.preprocessing.size}"
    table = Table()
    for column in (heading, pluralize(quality.images, "image"), "better"):
        table.add_column(Text(column))
    for row in quality_rows(evaluation.figures()):
        table.add_row(*map(Text, row))
    if quality.tokens < codes:
        most = math.ceil(1000 * quality.tokens / codes) / 1000
        table.caption = f"{quality.tokens:,} tokens can use at most {most:.1%} of the {codes_text(codes)} codes"
    return table


def summary_lines(evaluation: Evaluation) -> list[str]:
    """Return a line for everything that has no figure."""
    lines = [f"failed: {failure.source}: {failure.reason}" for failure in evaluation.failures[:MAX_FAILURES]]
    if len(evaluation.failures) > MAX_FAILURES:
        lines.append(f"... and {len(evaluation.failures) - MAX_FAILURES} more, see {METRICS_FILE}")
    lines += filter(None, [estimate_note(evaluation.counts, evaluation.tokenizer.vocab_size)])
    return lines + [f"lost: {phrase}" for phrase in evaluation.lost]
