"""The figures of a comparison as rows, and what was not measured, for the terminal and for the page."""

from collections.abc import Callable, Mapping, Sequence

from ...evaluation.prior.measure import PRIOR_FIGURES
from ...evaluation.rows import Row, known_rows
from ...report.content import ComparedRow, ComparedSection
from ...tokenizer.preprocessing import PreprocessingConfig
from .compare import Compared, Comparison, Measured
from .published import published_metrics, published_rows
from .results import MISSING

HIDDEN = ("distortion", "effective_rank", "latent_effective_rank")
"""Figures in the units of a tokenizer's own latents, which do not compare."""
UNMARKED = ("usage", "perplexity", "bits_per_pixel", *PRIOR_FIGURES)
"""Figures of which none is best: they depend on the number of codes and tokens, which a tokenizer is chosen for."""


def sections(comparison: Comparison) -> list[ComparedSection]:
    """Return the figures on own crops, with published metrics, then those on the common crop, where the best are marked."""
    compared = comparison.compared
    if comparison.crop.preprocessing and all(each.own is each.common for each in compared):
        return [_section("own and common crop", compared, lambda each: each.own, True, True)]
    parts = [_section("own crop", compared, lambda each: each.own, False, True, comparison.crop.preprocessing is None)]
    if comparison.crop.preprocessing:
        parts.append(_section("common crop", compared, _on_common, True, False))
    return parts


def _on_common(each: Compared) -> Measured:
    assert each.common
    return each.common


def _section(
    title: str,
    compared: Sequence[Compared],
    part: Callable[[Compared], Measured],
    marked: bool,
    with_published: bool,
    with_prior: bool = True,
) -> ComparedSection:
    hidden = HIDDEN if with_prior else (*HIDDEN, *PRIOR_FIGURES)
    columns = [part(each).figures for each in compared]
    names = dict.fromkeys(name for column in columns for name in column if name not in hidden)
    published: list[dict[str, tuple[str, str]]] = [{} for _ in compared]
    labels: dict[str, str] = {}
    for index, each in enumerate(compared if with_published else []):
        for name, stated in published_rows(columns[index], published_metrics(each.config), MISSING).items():
            published[index][name], labels[name] = (stated.published, stated.difference), stated.label
    rows = []
    known = known_rows([*names, *labels])
    for name in [*known, *(name for name in labels if name not in known)]:
        values = [column.get(name) for column in columns]
        if not any(value is not None for value in values) and name not in labels:
            continue
        row = known.get(name, Row(labels.get(name, ""), "{:,.4g}"))
        cells = [MISSING if value is None else row.text(value) for value in values]
        rivals = [value if part(each).examples else None for value, each in zip(values, compared, strict=True)]
        best = _best(rivals, row.better) if marked and name not in UNMARKED else frozenset()
        rows.append(ComparedRow(row.label, cells, row.better, best))
        if name in labels:
            pairs = [column.get(name, (MISSING, MISSING)) for column in published]
            rows.append(ComparedRow("as published", [text for text, _ in pairs], "", is_detail=True))
            if any(text != MISSING for _, text in pairs):
                rows.append(ComparedRow("difference", [text for _, text in pairs], "", is_detail=True))
    return ComparedSection(title, [size_text(part(each).preprocessing) for each in compared], rows)


def said_once(compared: Sequence[Compared], sentences: Callable[[Mapping[str, str]], list[str]]) -> list[str]:
    """Return the sentences about what was not measured, after the names of the tokenizers if they are not about all."""
    names: dict[str, list[str]] = {}
    for each in compared:
        on_common = each.common.not_measured if each.common else {}
        for sentence in sentences({**each.own.not_measured, **on_common}):
            names.setdefault(sentence, []).append(each.name)
    return [
        sentence if len(group) == len(compared) else f"{', '.join(group)}: {sentence}"
        for sentence, group in names.items()
    ]


def size_text(preprocessing: PreprocessingConfig) -> str:
    """Return the size of the images, as a phrase."""
    size = preprocessing.size
    return f"{size} x {size}" if isinstance(size, int) else size


def _best(values: Sequence[float | None], better: str) -> frozenset[int]:
    """Return the indices of the best values; none if all are equal or no direction is better."""
    found = {value for value in values if value is not None}
    if not better or len(found) < 2:
        return frozenset()
    best = max(found) if better == "higher" else min(found)
    return frozenset(index for index, value in enumerate(values) if value == best)
