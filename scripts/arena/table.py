"""The rows of the arena: read, written, correlated and drawn."""

import json
import math
import statistics
from bisect import bisect_left, bisect_right
from pathlib import Path
from typing import Any

import matplotlib

from arena.entries import ENTRIES, Entry
from vistok.tokenizer.quantizers import build_quantizer

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def spearman(x: list[float], y: list[float]) -> float | None:
    """Return Spearman's rank correlation, equal values sharing the mean of their ranks; None where one side is constant."""
    if len(set(x)) < 2 or len(set(y)) < 2:
        return None
    return statistics.correlation(_ranks(x), _ranks(y))


def _ranks(values: list[float]) -> list[float]:
    ordered = sorted(values)
    return [(bisect_left(ordered, value) + bisect_right(ordered, value)) / 2 for value in values]


def results(rows: list[dict[str, Any]], settings: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """Return what is written: settings, facts, correlations and rows."""
    keys = ("distortion", "usage", "perplexity")
    columns = {key: [float(row[key]) for row in rows] for key in (*keys, "psnr")}
    correlations = {key: spearman(columns[key], columns["psnr"]) for key in keys}
    return {"settings": settings, **facts, "spearman with psnr": correlations, "rows": rows}


def rows_before(path: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of an earlier start whose entries are still the same; raise ValueError if its settings are not."""
    if not path.exists():
        return []
    before = json.loads(path.read_text())
    if before.get("settings") != settings:
        raise ValueError(f"{path} holds rows of other settings: remove it, or name another file with --out.")
    return [row for row in before["rows"] if _same(ENTRIES.get(row["name"]), row["entry"])]


def _same(entry: Entry | None, written: dict[str, Any]) -> bool:
    # A row that was written before the entry had some field has the default of it.
    return entry is not None and json.loads(json.dumps(entry._asdict())) == Entry(**written)._asdict()


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a table, lowest distortion first."""
    lines = [
        "| quantizer | bits | distortion | usage | perplexity | PSNR (dB) | lr | steps | fit (s) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    line = (
        "| {name} | {bits:.3g} | {distortion:.4f} | {usage:.1%} | {perplexity:,.0f} | {psnr:.2f} | {lr:g} | {steps} "
        "| {seconds:.0f} |"
    )
    return "\n".join(
        lines + [line.format(bits=bits(row), **row) for row in sorted(rows, key=lambda row: row["distortion"])]
    )


def bits(row: dict[str, Any]) -> float:
    """Return the bits per position of a row's quantizer."""
    quantizer = build_quantizer(row["entry"]["values"])
    return quantizer.num_codebooks * math.log2(quantizer.vocab_size)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw PSNR over distortion and over usage; the numbers refer to the legend, lowest distortion first."""
    figure, axes = plt.subplots(1, 2, figsize=(14, 5.4), sharey=True, layout="constrained")
    for number, row in enumerate(sorted(rows, key=lambda row: row["distortion"]), 1):
        for axis, key in zip(axes, ("distortion", "usage"), strict=True):
            axis.scatter(row[key], row["psnr"], s=10, color="#30638e", label=f"{number:>2}  {row['name']}")
            axis.annotate(f"{number}", (row[key], row["psnr"]), fontsize=7, xytext=(3, 3), textcoords="offset points")
    for axis, key in zip(axes, ("distortion", "usage"), strict=True):
        axis.set_xlabel(key)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("PSNR after decoder adaptation (dB)")
    axes[1].legend(
        loc="center left",
        bbox_to_anchor=(1.02, 0.5),
        ncols=2,
        fontsize=7,
        handlelength=0,
        markerscale=0,
        frameon=False,
    )
    figure.savefig(path, dpi=140)
    plt.close(figure)
