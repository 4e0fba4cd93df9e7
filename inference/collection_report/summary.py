"""What report-tokens prints."""

from pathlib import Path
from typing import Any

from ...evaluation.usage import codebook_usage, even_usage
from .collection import Collection
from .page import page_figures, page_notes


def as_dict(collection: Collection, out: Path) -> dict[str, Any]:
    """Return the figures of the page, for a program."""
    contents, manifest, survey = collection.contents, collection.manifest, collection.survey
    tokens = int(collection.counts[0].sum())
    return {
        "report": str(out),
        "shards": len(contents.shards),
        "images": contents.images,
        "rows": contents.rows,
        "failures": {reason.text: reason.number for reason in contents.failures.reasons()},
        "rows_read": survey.rows,
        "damaged_rows": survey.damaged_rows,
        "tokens": tokens,
        "codebooks": [usage._asdict() for usage in codebook_usage(collection.counts, manifest.vocab_size)],
        "even_usage": even_usage(tokens, manifest.vocab_size),
        "notes": page_notes(collection),
    }


def lines(collection: Collection, out: Path) -> list[str]:
    """Return lines for people."""
    figures = ", ".join(f"{name} {value}" for name, value in page_figures(collection).items())
    return [f"{collection.store}: {figures}", *(f"  {note}" for note in page_notes(collection)), f"in {out}"]
