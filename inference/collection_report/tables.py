"""The tables of the page, and the histograms of the images' sizes."""

from collections import Counter
from collections.abc import Mapping

from ...report.content import Histogram, Table
from ..token_shards.manifest import Manifest
from .collection import Collection
from .survey import PER_OCTAVE, Survey

MAX_LINES = 12
MAX_REASONS = 30
STAGES = {"reading": "images", "encoding": "tokens", "writing": "shards"}


def collection_tables(collection: Collection) -> dict[str, Table]:
    """Return the tables that have a row, by title."""
    survey, contents = collection.survey, collection.contents
    tables = {
        f"Failures by reason: {contents.failures.number:,}": _failures(collection),
        "Grids of the tokens": _grids(survey, collection.manifest),
        "Most common sizes of the images": _sizes(survey),
        "Members of the inputs that were passed over": _passed_over(contents.passed_over),
        "What the call waited for": _waited(collection.call.waited if collection.call else {}),
    }
    return {title: table for title, table in tables.items() if table.rows}


def size_histograms(survey: Survey) -> list[Histogram]:
    """Return how many images have which number of pixels, and which aspect ratio."""
    if not survey.images:
        return []
    return [
        _histogram("Sizes of the images", "megapixels", survey.pixels, 1e-6),
        _histogram("Aspect ratios of the images", "width / height", survey.aspects, 1.0),
    ]


def _histogram(title: str, unit: str, counts: Counter[int], scale: float) -> Histogram:
    steps = range(min(counts) - 1, max(counts) + 2)
    edges = [scale * 2 ** ((step - 0.5) / PER_OCTAVE) for step in [*steps, steps[-1] + 1]]
    return Histogram(title, unit, "images", edges, [counts[step] for step in steps])


def _failures(collection: Collection) -> Table:
    reasons = collection.contents.failures.reasons()
    rows = [[reason.text, f"{reason.number:,}", ", ".join(reason.examples)] for reason in reasons[:MAX_REASONS]]
    if others := reasons[MAX_REASONS:]:
        rows.append([f"{len(others):,} more reasons", f"{sum(reason.number for reason in others):,}", ""])
    return Table(["reason", "images", "for example"], rows)


def _grids(survey: Survey, manifest: Manifest) -> Table:
    rows = []
    for (q, y, x), number in survey.grids.most_common(MAX_LINES):
        told = f"{y} x {x}" + (f" x {q} codebooks" if q > 1 else "") if q else "others"
        rows.append([told, f"{q * y * x:,}" if q else "", f"{number:,}", f"{number / survey.rows:.1%}"])
    rest = survey.rows - sum(number for _, number in survey.grids.most_common(MAX_LINES))
    if rest:
        rows.append([f"{len(survey.grids) - MAX_LINES:,} more", "", f"{rest:,}", f"{rest / survey.rows:.1%}"])
    return Table(
        ["rows x columns", "tokens", "rows of the shards" if manifest.views.names else "images", "fraction"], rows
    )


def _sizes(survey: Survey) -> Table:
    common = survey.sizes.most_common(MAX_LINES)
    rows = [
        [f"{width} x {height}", f"{number:,}", f"{number / survey.images:.1%}"] for (width, height), number in common
    ]
    rest = survey.images - sum(number for _, number in common)
    if rest:
        told = f"{len(survey.sizes) - MAX_LINES:,} more" if not survey.untold else "others"
        rows.append([told, f"{rest:,}", f"{rest / survey.images:.1%}"])
    return Table(["width x height", "images", "fraction"], rows)


def _passed_over(kinds: Mapping[str, int]) -> Table:
    ordered = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    return Table(["kind", "members"], [[kind, f"{number:,}"] for kind, number in ordered[:MAX_LINES]])


def _waited(fractions: Mapping[str, float]) -> Table:
    rows = [[f"{stage} ({STAGES.get(stage, stage)})", f"{fraction:.0%}"] for stage, fraction in fractions.items()]
    if rows:
        rows.append(["the rest", f"{max(0.0, 1 - sum(fractions.values())):.0%}"])
    return Table(["stage", "fraction of the time"], rows)
