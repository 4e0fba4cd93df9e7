"""The runs on the mixture as a table and a figure."""

import statistics
from pathlib import Path
from typing import Any

from .target import CENTRES, WIDTH

COLOURS = {"0": "#8d99ae", "0.5": "#d1495b", "1": "#30638e", "1.2": "#edae49", "L1 alone": "#444444"}
"""Of each recipe."""
VIEW = 2.3
"""Samples are drawn in a square of twice this side."""


def of(results: dict[str, Any], setting: str, recipe: str) -> list[dict[str, Any]]:
    """Return the runs of a setting and a recipe, one a seed."""
    return [run for run in results["runs"] if (run["setting"], run["recipe"]) == (setting, recipe)]


def markdown(results: dict[str, Any]) -> str:
    """Return means over seeds, of which there are at least two, with the standard deviation of the distance."""
    lines = [
        "| start | lambda | distance before | after | worst of the second half | modes of 8 | near a mode | width | variance |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for setting in results["settings"]:
        for recipe in COLOURS:
            runs = of(results, setting, recipe)
            mean = {key: statistics.mean(run[key] for run in runs) for key in ("modes", "near", "width", "spread")}
            before = statistics.mean(run["distances"][0] for run in runs)
            distances = [run["distances"][-1] for run in runs]
            worst = max(max(run["distances"][len(run["distances"]) // 2 :]) for run in runs)
            lines.append(
                f"| {setting} | {recipe} | {before:.3f} | {statistics.mean(distances):.3f} ± {statistics.stdev(distances):.3f} "
                f"| {worst:.3f} | {mean['modes']:.1f} | {mean['near']:.0%} | {mean['width']:.2f} | {mean['spread']:.2f} |"
            )
    return "\n".join(lines)


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw a row for each setting: samples of the first seed by each recipe, then distances over steps of all seeds."""
    import matplotlib  # late: the tests read the table without it

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    settings = list(results["settings"])
    columns = len(COLOURS) + 1
    size = (2.0 * columns + 1.4, 2.2 * len(settings) + 0.3)
    ratios = [1.0] * len(COLOURS) + [1.7]
    figure, axes = plt.subplots(
        len(settings), columns, figsize=size, layout="constrained", squeeze=False, width_ratios=ratios
    )
    for row, setting in zip(axes, settings, strict=True):
        for axis, (recipe, colour) in zip(row[:-1], COLOURS.items(), strict=True):
            first = of(results, setting, recipe)[0]
            for centre in CENTRES.tolist():
                axis.add_patch(plt.Circle(centre, 2 * WIDTH, color="#dddddd", linewidth=0))
            x, y = zip(*first["samples"], strict=True)
            axis.scatter(x, y, s=2, color=colour)
            axis.set(xlim=(-VIEW, VIEW), ylim=(-VIEW, VIEW), xticks=[], yticks=[], aspect="equal")
            outside = statistics.mean(max(abs(a), abs(b)) > VIEW for a, b in first["samples"])
            if outside > 0.01:
                axis.text(0, -VIEW + 0.1, f"{outside:.0%} outside", ha="center", va="bottom", fontsize=8)
            axis.set_title(recipe if recipe == "L1 alone" else rf"$\lambda$ = {recipe}", fontsize=10)
            for run in of(results, setting, recipe):
                row[-1].plot(results["checks"], run["distances"], color=colour, linewidth=1, label=recipe)
        row[0].set_ylabel(setting)
        row[-1].axhline(results["floor"], color="black", linewidth=0.8, linestyle=":")
        row[-1].set(yscale="log", ylabel="sliced distance")
        row[-1].tick_params(labelsize=8)
    axes[-1, -1].set_xlabel("steps of the generator")
    handles = [plt.Line2D([], [], color=colour, label=recipe) for recipe, colour in COLOURS.items()]
    handles.append(plt.Line2D([], [], color="black", linestyle=":", label="the target itself"))
    figure.legend(handles=handles, fontsize=8, loc="outside lower center", ncols=len(handles))
    figure.savefig(path, dpi=100)
    plt.close(figure)
