"""The rows of the benchmark as ratios, a table and a plot."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

KINDS = ("training", "inference")
PRODUCTS = ("product", "product in chunks")


def ratios(row: dict[str, object]) -> dict[str, float | str]:
    """Return theirs over ours, for time and memory, and our search over the bare product."""
    found: dict[str, float | str] = {}
    for product_kind in PRODUCTS:
        if row[product_kind] and row["search"]:
            found[f"search to {product_kind}"] = row["search"]["seconds"] / row[product_kind]["seconds"]
    for kind in KINDS:
        ours, theirs = row[kind], row.get(f"their {kind}", "left out")
        if ours is None:
            found[kind] = "ours does not fit"
        elif theirs == "left out":
            found[kind] = "left out"
        elif theirs is None:
            found[kind] = "does not fit"
        else:
            found[f"{kind} time"] = theirs["seconds"] / ours["seconds"]
            found[f"{kind} memory"] = theirs["bytes"] / max(ours["bytes"], 4096.0)
    return found


def markdown(rows: list[dict[str, object]]) -> str:
    """Return the table for RESULTS.md."""
    lines = [
        "| latents | d | codes | training, ms | times faster | times less memory | inference, ms | times faster "
        "| times less memory | search, ms | search to product | search to product in chunks |",
        "|" + "---:|" * 12,
    ]
    for row in rows:
        cells = [f"{row['latents']:,}", str(row["dim"]), f"{row['codes']:,}"]
        for kind in KINDS:
            cells.append(f"{row[kind]['seconds'] * 1000:,.1f}" if row[kind] else "does not fit")
            for ratio in ("time", "memory"):
                value = row["ratios"].get(f"{kind} {ratio}", row["ratios"].get(kind))
                if value == "left out":
                    seconds = next(part for part in row["left out"].split("; ") if part.startswith(kind))
                    value = f"left out ({seconds.split('about ')[1]})"
                cells.append(value if isinstance(value, str) else f"{value:,.1f}")
        cells.append(f"{row['search']['seconds'] * 1000:,.3f}" if row["search"] else "does not fit")
        for product_kind in PRODUCTS:
            floor_ratio = row["ratios"].get(f"search to {product_kind}")
            cells.append("does not fit" if floor_ratio is None else f"{floor_ratio:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(rows: list[dict[str, object]], path: Path) -> None:
    """Draw how many times faster ours is, over the codebook size."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for axis, kind in zip(axes, KINDS, strict=True):
        for count in sorted({row["latents"] for row in rows}):
            for dim in sorted({row["dim"] for row in rows}):
                points = [
                    (row["codes"], row["ratios"][f"{kind} time"])
                    for row in rows
                    if (row["latents"], row["dim"]) == (count, dim) and f"{kind} time" in row["ratios"]
                ]
                if points:
                    axis.loglog(*zip(*points, strict=True), marker="o", label=f"{count:,} latents, d = {dim}")
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set(title=kind, xlabel="codes")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("times faster than\nvector-quantize-pytorch")
    if axes[1].lines[1:]:
        axes[1].legend(fontsize=7)
    figure.savefig(path, dpi=140)
    plt.close(figure)
