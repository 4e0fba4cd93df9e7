"""The training curves of decoders as a figure: a panel for each kind of curve, a colour for each run."""

import math
from pathlib import Path
from typing import Any

from .curves import kept_paths

COLOURS = ("#d1495b", "#30638e", "#edae49", "#444444", "#8d99ae")
STYLES = ("-", "--", ":")
"""The runs after the fifth have the colours again, with the next style."""
TOTAL = "loss/total"
"""Not drawn: each recipe weights other losses."""
LABELS = {
    "discriminator/loss": "loss of the discriminator",
    "fake/loss": "loss of the fake network",
    "matching/distance": "|teacher - fake|",
    "spread/seeds": "fraction of the residual",
    "spread/residual": "fraction of the residual",
    "validation/psnr": "PSNR (dB)",
}
"""Of the vertical axes of panels that show no loss in training."""
COLUMNS = 3
TICKS = (1, 3)
"""Times powers of 10, on logarithmic axes."""
FEW = 10
"""A curve of at most as many points has markers."""


def plot(runs: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw the curves of runs by label, 900 pixels wide; an axis is logarithmic where values span more than a factor of 10."""
    import matplotlib  # late: the curves are gathered without it

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    names = panels(runs)
    rows = math.ceil(len(names) / COLUMNS)
    figure, axes = plt.subplots(
        rows, COLUMNS, figsize=(9, 2.0 * rows + 0.4), layout="constrained", squeeze=False, sharex=True
    )
    looks = look_of_each(runs)
    for axis, name in zip(axes.flat, names, strict=False):
        for label, run in runs.items():
            if name in run["curves"]:
                draw(axis, run["curves"][name], looks[label])
        axis.set_title(name, fontsize=9)
        axis.set_ylabel(LABELS.get(name, "loss"), fontsize=8)
        axis.set_xscale("log")
        scales = [axis.xaxis]
        if spans_decades(runs, name):
            axis.set_yscale("log")
            scales.append(axis.yaxis)
        for scale in scales:
            scale.set_major_locator(LogLocator(subs=TICKS))
            scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
            scale.set_minor_formatter(NullFormatter())
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3, linewidth=0.5)
    for axis in axes.flat[max(0, len(names) - COLUMNS) : len(names)]:  # the lowest of each column
        axis.tick_params(labelbottom=True)
        axis.set_xlabel("step", fontsize=8)
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    handles = [plt.Line2D([], [], label=described(label, run), **looks[label]) for label, run in runs.items()]
    figure.legend(handles=handles, fontsize=8, loc="outside lower center", ncols=2)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def panels(runs: dict[str, dict[str, Any]]) -> list[str]:
    """Return the log paths that are drawn, in the order of their panels."""
    return [name for name in kept_paths([run["curves"] for run in runs.values()]) if name != TOTAL]


def look_of_each(runs: dict[str, dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Return the colour and line of each run."""
    return {
        label: {
            "color": COLOURS[index % len(COLOURS)],
            "linestyle": STYLES[index // len(COLOURS) % len(STYLES)],
        }
        for index, label in enumerate(runs)
    }


def draw(axis: Any, curve: dict[str, list[Any]], look: dict[str, str]) -> None:
    """Draw one curve."""
    values = [math.nan if value is None else value for value in curve["values"]]
    marker = "." if len(values) <= FEW else ""
    axis.plot(curve["steps"], values, linewidth=1, marker=marker, markersize=4, **look)


def spans_decades(runs: dict[str, dict[str, Any]], name: str) -> bool:
    """Return whether all values of a panel are positive and span more than a factor of 10."""
    curves = [run["curves"][name]["values"] for run in runs.values() if name in run["curves"]]
    values = [value for curve in curves for value in curve if value is not None]
    return bool(values) and min(values) > 0 and max(values) > 10 * min(values)


def described(label: str, run: dict[str, Any]) -> str:
    """Return the line of a run in the legend."""
    config = run["config"]
    return f"{label}: {run['step']:,} steps of {config['batch_size']} crops of {config['crop']} px"
