"""Render a report as one self-contained HTML page."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from .charts import chart_html
from .codebooks import codebook_html
from .content import Comparison, ImageRow, Report, Single, Table
from .data_url import SMALL, data_url
from .histograms import histogram_html
from .side_by_side import SCRIPT as COMPARED_SCRIPT
from .side_by_side import STYLE as COMPARED_STYLE
from .side_by_side import compared_html, image_rows_html, usage_html

STYLE = Path(__file__).parent / "page.css"
SCRIPT = Path(__file__).parent / "page.js"

GENERATOR = "vistok"
"""By which a page of vistok is recognised."""

MEASURE = re.compile(r"([-+]?[\d.,]+)(\s*[^\d.,\s].*)", re.DOTALL)
NUMERIC = re.compile(r"[-+±]?[\d.,]+(e[-+]?\d+)?\s*\D{0,8}")
NUMBER_OR_NONE = re.compile(NUMERIC.pattern + "|-?|nan|\u2014")


def render(report: Report) -> str:
    """Return the page; equal reports give equal pages.

    The page loads nothing, escapes all text and works without scripts, which only add sliders and the readout of charts.
    """
    sections = _sections(report)
    style, script = ([path.read_text(encoding="utf-8")] for path in (STYLE, SCRIPT))
    if report.side_by_side or report.image_rows:
        style.append(COMPARED_STYLE.read_text(encoding="utf-8"))
        script.append(COMPARED_SCRIPT.read_text(encoding="utf-8"))
    links = "".join(f'<a href="#{title.lower()}">{title}</a>' for title in sections)
    body = "".join(
        f'<section id="{title.lower()}"><h2>{title}</h2>{content}</section>' for title, content in sections.items()
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="generator" content="{GENERATOR}"><meta name="color-scheme" content="light dark">'
        f"<title>{escape(report.title)}</title>"
        f"<style>\n{''.join(style)}</style></head><body>"
        f"<header><h1>{escape(report.title)}</h1><p>{escape(report.subtitle)}</p></header>"
        f"<main>{_notes(report.notes)}{_figures(report.figures)}{f'<nav>{links}</nav>' if len(sections) > 1 else ''}{body}"
        f"</main><script>\n{''.join(script)}</script></body></html>\n"
    )


def _sections(report: Report) -> dict[str, str]:
    """Return the parts that are not empty by title, in page order."""
    config, beside = escape(report.config), report.side_by_side
    parts = {
        "Comparison": compared_html(beside) if beside else "",
        "Reconstructions": (image_rows_html(beside.images) if beside else "")
        + "".join(_image_rows(heading, rows) for heading, rows in report.image_rows.items())
        + _grid("images", [_comparison(pair) for pair in report.comparisons])
        + "".join(_gallery(heading, pairs) for heading, pairs in report.galleries.items()),
        "Curves": _grid("charts", [chart_html(chart) for chart in report.charts]),
        "Codebooks": (usage_html(beside.usage) if beside else "")
        + "".join(codebook_html(view) for view in report.codebooks),
        "Sizes": _grid("charts", [histogram_html(histogram) for histogram in report.histograms]),
        "Tables": "".join(_table(title, table) for title, table in report.tables.items()),
        "Configuration": config and f"<details><summary>Show</summary><pre>{config}</pre></details>",
        "Environment": _environment(report.environment),
    }
    return {title: content for title, content in parts.items() if content}


def _notes(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<ul class="notes" aria-label="Warnings">{items}</ul>' if notes else ""


def _figures(figures: Mapping[str, str]) -> str:
    tiles = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{_measure(value)}</dd></div>" for label, value in figures.items()
    )
    return f'<dl class="figures">{tiles}</dl>' if tiles else ""


def _measure(value: str) -> str:
    """Format a number with its unit in smaller type."""
    match = MEASURE.fullmatch(value)
    if match:
        return f"<b>{escape(match[1])}</b><small>{escape(match[2])}</small>"
    return f"<b>{escape(value)}</b>" if NUMERIC.fullmatch(value) else f'<span class="words">{escape(value)}</span>'


def _gallery(heading: str, shown: Sequence[Comparison | Single]) -> str:
    grid = _grid("images", [_single(each) if isinstance(each, Single) else _comparison(each) for each in shown])
    return f'<h3 class="gallery">{escape(heading)}</h3>{grid}' if shown else ""


def _image_rows(heading: str, rows: Sequence[ImageRow]) -> str:
    return f'<h3 class="gallery">{escape(heading)}</h3>{image_rows_html(rows)}' if rows else ""


def _comparison(comparison: Comparison) -> str:
    original, label = comparison.original, escape(comparison.label)
    small = " small" if max(original.size) <= SMALL else ""
    return (
        f'<figure class="compare{small}"><div class="stage" style="--ratio:{original.width}/{original.height}">'
        f"{_side('reconstruction', comparison.reconstruction, label)}{_side('original', original, label)}"
        f'<input type="range" min="0" max="100" value="50" step="1" aria-label="Visible part of the original: {label}">'
        f"</div><figcaption>{label}</figcaption></figure>"
    )


def _single(single: Single) -> str:
    image, label = single.reconstruction, escape(single.label)
    small = " small" if max(image.size) <= SMALL else ""
    return (
        f'<figure class="single{small}"><img src="{data_url(image)}" width="{image.width}" height="{image.height}" '
        f'alt="reconstruction: {label}"><figcaption>{label}</figcaption></figure>'
    )


def _side(name: str, image: Image.Image, label: str) -> str:
    return (
        f'<span class="{name}"><img src="{data_url(image)}" width="{image.width}" height="{image.height}" '
        f'alt="{name}: {label}"><em>{name}</em></span>'
    )


def _grid(name: str, items: list[str]) -> str:
    return f'<div class="grid {name}">{"".join(items)}</div>' if items else ""


def _table(title: str, table: Table) -> str:
    sides = [_alignment([row[column] for row in table.rows]) for column in range(len(table.header))]
    head = "".join(f'<th scope="col"{side}>{escape(cell)}</th>' for cell, side in zip(table.header, sides, strict=True))
    rows = "".join(
        f"<tr>{''.join(f'<td{side}>{escape(cell)}</td>' for cell, side in zip(row, sides, strict=True))}</tr>"
        for row in table.rows
    )
    return (
        f'<h3>{escape(title)}</h3><div class="wide" role="region" tabindex="0" aria-label="{escape(title)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _alignment(column: list[str]) -> str:
    """Return the attribute that aligns a column of numbers to the right; empty for other columns."""
    return (
        ' class="number"' if any(map(NUMERIC.fullmatch, column)) and all(map(NUMBER_OR_NONE.fullmatch, column)) else ""
    )


def _environment(facts: Mapping[str, str]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in facts.items()
    )
    return f'<div class="wide"><table class="environment"><tbody>{rows}</tbody></table></div>' if facts else ""
