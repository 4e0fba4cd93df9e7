"""Metrics as published beside those that were measured."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ...evaluation.rows import Row, known_rows
from ...tokenizer.folder.config_json import TokenizerConfig

NOTE = "Published metrics were measured on the publisher's images, mostly ImageNet: differences come from the images as well."
PLAIN = Row("", "{:,.4g}")
"""How a metric is written that vistok does not know."""


class PublishedRow(NamedTuple):
    """One published metric."""

    label: str
    measured: str
    published: str
    difference: str


def published_metrics(config: TokenizerConfig) -> Mapping[str, float]:
    """Return the published metrics of a tokenizer by name; empty when there are none."""
    return config.origin.published if config.origin else {}


def published_rows(
    figures: Mapping[str, float | None], published: Mapping[str, float], missing: str
) -> dict[str, PublishedRow]:
    """Return a row for each published metric, by name; `missing` is written where nothing was measured."""
    known, rows = known_rows(published), {}
    for name in [*known, *(name for name in published if name not in known)]:
        row = known.get(name, PLAIN)
        value = figures.get(name)
        rows[name] = PublishedRow(
            row.label or name,
            missing if value is None else row.text(value),
            row.text(published[name]),
            missing if value is None else row.difference(value, published[name]),
        )
    return rows


def published_facts(figures: Mapping[str, float | None], published: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Return the published metrics for metrics.json, each with what was measured and the difference."""
    facts = {}
    for name, value in published.items():
        measured = figures.get(name)
        difference = None if measured is None else measured - value
        facts[name] = {"published": value, "measured": measured, "difference": difference}
    return facts
