"""Codebook usage: figures, the codes by rank, and their map."""

from html import escape
from inspect import ismethod
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..evaluation.even_use import even_perplexity
from ..evaluation.usage import Usage, codebook_usage, codes_text, estimate_note, even_usage, is_hashed
from ..tokenizer.quantizers import Quantizer
from .axes import Axis, number, ticks
from .codemap import map_html
from .content import CodebookView
from .plot import SIDE, corners, data, figure, frame, percent
from .rank_plot import rank_plot

BARS = 128
"""Max bars of a histogram; with more codes, each bar covers several ranks."""


class Bar(NamedTuple):
    """Codes of consecutive ranks; rank 1 is the most frequent."""

    first: int
    last: int
    tokens: int
    """Tokens of all these codes."""

    @property
    def mean(self) -> float:
        """Tokens per code."""
        return self.tokens / (self.last - self.first + 1)


def codebook_views(quantizer: Quantizer, counts: Tensor) -> list[CodebookView]:
    """Return the counts of each codebook, with its table if it has a method `codes() -> k d` and every code was counted."""
    views = []
    for index, (codebook, level) in enumerate(zip(quantizer.codebooks(), counts, strict=True)):
        name = "codebook" if len(counts) == 1 else f"codebook {index}"
        table = None if is_hashed(counts, quantizer.vocab_size) else getattr(codebook, "codes", None)
        codes = table().detach().float().cpu().numpy() if ismethod(table) else None
        views.append(CodebookView(name, level.numpy(), codes, quantizer.vocab_size))
    return views


def codebook_html(view: CodebookView) -> str:
    """Return a codebook's figures, its rank-frequency histogram and the map of its codes."""
    counts = np.asarray(view.counts).astype(np.int64)
    codes = view.vocab_size or len(counts)
    usage = codebook_usage(torch.from_numpy(counts)[None], codes)[0]
    estimate = estimate_note(torch.from_numpy(counts)[None], codes)
    drawn = f'<p class="empty">{estimate}</p>'
    if not estimate:
        plotted = rank_plot(view.name, counts) if view.on_log_ranks else _histogram(view.name, counts)
        bars = figure("chart ranks", '<h4>Codes by rank</h4><span class="where"></span>', *plotted)
        drawn = f'<div class="pair">{bars}{figure("codes", "<h4>Map of the codes</h4>", *map_html(view, counts))}</div>'
    facts = _facts(counts, usage, codes, bool(estimate))
    return f'<section class="codebook"><h3>{escape(view.name)}</h3>{facts}{drawn}</section>'


def rank_bars(counts: NDArray[np.int64]) -> list[Bar]:
    """Return the codes by descending count in at most 128 bars of nearly equal width, which hold every token."""
    ranked = np.sort(counts)[::-1]
    edges = np.linspace(0, len(ranked), min(BARS, len(ranked)) + 1).astype(int).tolist()
    return [Bar(start + 1, end, int(ranked[start:end].sum())) for start, end in pairwise(edges)]


def _facts(counts: NDArray[np.int64], usage: Usage, codes: int, estimated: bool) -> str:
    used, tokens = round(usage.usage * codes), int(counts.sum())
    facts = {
        "Usage": (f"{usage.usage:.1%}", f"{used:,} of {codes_text(codes)} codes"),
        "Perplexity": (f"{usage.perplexity:,.1f}", f"of {_even_perplexity(tokens, codes)} at even use"),
        "Dead": (f"{usage.dead:.1%}", "estimated" if estimated else f"{codes - used:,} codes"),
        "Even use": (f"{even_usage(tokens, codes):.1%}", "usage of a uniform draw of as many tokens"),
        "Tokens": (f"{tokens:,}", "fewer than codes" if tokens < codes else "counted"),
    }
    items = "".join(
        f"<div><dt>{name}</dt><dd>{value}</dd><dd>{beside}</dd></div>" for name, (value, beside) in facts.items()
    )
    return f'<dl class="facts">{items}</dl>'


def _even_perplexity(tokens: int, codes: int) -> str:
    expected = even_perplexity(tokens, codes)
    return codes_text(codes) if expected > 0.999 * codes else f"{expected:,.1f}"


def _histogram(name: str, counts: NDArray[np.int64]) -> tuple[str, str]:
    bars = rank_bars(counts)
    used = [bar for bar in bars if bar.tokens]
    if not used:
        return "", '<p class="empty">No token was counted.</p>'
    x, y = Axis(0, len(counts)), Axis(used[-1].mean / 2, max(used[0].mean * 1.2, used[-1].mean * 2), log=True)
    dead = int((counts == 0).sum())
    even = counts.sum() / len(counts)
    summary = (
        f"Tokens of each code of {name} by rank, on a log scale: {used[0].mean:,.0f} at the front, "
        f"{used[-1].mean:,.2g} at the end, {dead:,} codes without any."
    )
    rank_axis = [tick for tick in ticks(x, whole=True) if tick.value > 0]
    plot = frame(_outline(used, x, y), summary, (x, rank_axis), (y, ticks(y)), _marks(x, y, even, dead, len(counts)))
    mean = f"{even:,.1f}" if even >= 0.1 else number(even)
    labels = [
        f"rank {bar.first:,}" if bar.first == bar.last else f"ranks {bar.first:,} to {bar.last:,}" for bar in used
    ]
    points: list[list[float | None]] = [[(bar.first - 1 + bar.last) / 2, float(f"{bar.mean:.6g}")] for bar in used]
    legend = f'<li class="c0">tokens per code <output>{mean} on average</output></li>'
    return legend, plot + data(x, y, "rank", [points], labels)


def _outline(bars: list[Bar], x: Axis, y: Axis) -> str:
    """Return the outline of the bars, down to the axis."""
    lefts, rights = np.array([bar.first - 1.0 for bar in bars]), np.array([float(bar.last) for bar in bars])
    means = np.array([bar.mean for bar in bars])
    tops, ends = corners(x, y, lefts, means).tolist(), corners(x, y, rights, means).tolist()
    path = "".join(f"V{top[1]}H{end[0]}" for top, end in zip(tops, ends, strict=True))
    return f'<path class="bars" d="M{tops[0][0]},{SIDE}{path}V{SIDE}Z"/>'


def _marks(x: Axis, y: Axis, even: float, dead: int, codes: int) -> str:
    """Return the line of even use, and a label for the dead codes if there is room for it."""
    marks = ""
    if y.low < even < y.high:
        at = percent(y, even, True)
        marks += f'<line class="even" x2="100%" y1="{at}" y2="{at}"/>'
        marks += f'<text class="mark" x="100%" y="{at}" dy="-6" text-anchor="end">even use</text>'
    if dead > codes / 5:
        middle = percent(x, codes - dead / 2)
        marks += f'<text class="mark" x="{middle}" y="100%" dy="-10" text-anchor="middle">{dead:,} dead</text>'
    return marks
