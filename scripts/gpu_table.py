"""Turns the lines of scripts/gpu_check.py into the tables of RESULTS.md, and says which targets are met.

python scripts/gpu_table.py gpu.jsonl > table.md
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from gpu_sections.lines import read_lines

Line = dict[str, Any]


class Target(NamedTuple):
    """What a measurement should reach: at least this many of its unit, or of a ceiling of the same run."""

    at_least: float
    side: int | None = None
    """Side of the images in pixels for which it is meant."""
    ceiling: str = ""
    """Name of the ceiling that `tflops`, or else `value`, is divided by; none for the value itself."""


TARGETS: dict[str, Target] = {
    "photo-f8 fast from host": Target(20_000, 256),
    "llamagen fast from host": Target(2_300, 256),
    "llamagen fast, network alone": Target(0.5, 256, "bf16 product"),
    "emu3.5 fast from host": Target(5 * 20.8, 512),
    "photo-f8 exact from host": Target(0.8, 256, "float32 product"),
    "llamagen exact from host": Target(0.8, 256, "float32 product"),
    "llamagen decode to tensors": Target(0.8, 256, "float32 product"),
    "fast: processes to the slower part, once started": Target(0.9),
    "exact: processes to the slower part, once started": Target(0.9),
    "training step, as configured": Target(200),
    "training step, compiled": Target(200),
    "training run, quality": Target(22),
    "fast: processes to the slower part": Target(0.9),
}
STEP = {"peak gigabytes": 45.0, "optimizer": 0.03, "monitor and average": 0.01}
"""Most of a training step: memory, and the fractions of its time."""
RATES = ("value", "images per second", "images_per_second")
"""Names under which lines have their main figure."""
SHOWN = (
    "batch",
    "layout",
    "mode",
    "deterministic",
    "benchmark",
    "side",
    "graph_breaks",
    "peak gigabytes",
    "seconds of the first step",
    "unfinished",
    "steps",
    "passed",
    "failed",
    "status",
    "error",
    "skipped",
    "warning",
)
SEARCH_LIMIT = 1.0
"""Least times that ours is faster than theirs in any cell."""
CALL = 1e-4
"""Most seconds of a call with few latents and codes."""


def main() -> None:
    """Print the tables."""
    lines = read_lines(Path(sys.argv[1]))
    ceilings = {line["name"]: line["value"] for line in lines if line.get("ceiling")}
    facts = next((line for line in lines if line["name"] == "environment"), {})
    print(heading(facts))
    for section in dict.fromkeys(line["section"] for line in lines):
        rows = [line for line in lines if line["section"] == section and line["name"] != "environment"]
        print(f"\n### {section}\n")
        print("\n".join(table(rows, ceilings) if section != "search" else search_table(rows)))


def heading(facts: Line) -> str:
    """Return a sentence about the machine."""
    known = {
        "card": "",
        "driver": "driver ",
        "torch": "torch ",
        "cuda": "CUDA ",
        "cudnn": "cuDNN ",
        "cores": "CPU cores: ",
    }
    parts = [f"{label}{facts[name]}" for name, label in known.items() if facts.get(name)]
    return "Measured on " + ", ".join(parts) + "."


def table(rows: list[Line], ceilings: dict[str, float]) -> list[str]:
    """Return a row for each line: its figure, that of the ceiling, its settings, and whether it meets its target."""
    found = [
        "| measurement | figure | TFLOP/s | of the ceiling | settings | target |",
        "| --- | ---: | ---: | ---: | --- | --- |",
    ]
    for line in rows:
        rate = next((name for name in RATES if isinstance(line.get(name), float | int)), "")
        figure, unit = line.get(rate), line.get("unit", "" if rate == "value" else "images/s")
        fraction, verdict = against_target(line, figure, ceilings)
        settings = ", ".join(f"{name} {short(line[name])}" for name in SHOWN if line.get(name) is not None)
        cells = [
            line["name"],
            number(figure, unit),
            number(line.get("tflops")),
            fraction,
            settings,
            "; ".join(filter(None, [verdict, *of_a_step(line)])),
        ]
        found.append("| " + " | ".join(cells) + " |")
    return found


def against_target(line: Line, figure: float | None, ceilings: dict[str, float]) -> tuple[str, str]:
    """Return the fraction of the ceiling, and whether the target is met; both may be empty."""
    target = TARGETS.get(line["name"])
    kind = "float32 product" if line.get("exact") or "float32" in line["name"] else "bf16 product"
    fraction = line["tflops"] / ceilings[kind] if line.get("tflops") and ceilings.get(kind) else None
    shown = "" if fraction is None else f"{fraction:.0%}"
    if target is None or figure is None or target.side not in (None, line.get("side")):
        return shown, ""
    reached = fraction if target.ceiling else figure
    if reached is None:
        return shown, "no ceiling"
    aim = f"{target.at_least:.0%} of the {target.ceiling}" if target.ceiling else f"{target.at_least:g}"
    return shown, f"{aim}: {met(reached >= target.at_least)}"


def of_a_step(line: Line) -> list[str]:
    """Return for each limit of a training step whether it is kept."""
    known = line | line.get("fractions", {}) if line["name"].startswith("training step, ") else {}
    return [
        f"{name} at most {most:g}, found {known[name]:.3g}: {met(known[name] <= most)}"
        for name, most in STEP.items()
        if known.get(name) is not None
    ]


def met(is_met: bool) -> str:
    """Return what the table says of a target."""
    return "met" if is_met else "not met"


def search_table(rows: list[Line]) -> list[str]:
    """Return a row for each cell: theirs over ours, and ours over the bare product."""
    found = [
        "| latents | d | codes | search, ms | training, times faster | inference, times faster | search to product | target |",
        "|" + "---:|" * 7 + " --- |",
    ]
    for line in rows:
        if "latents" not in line:
            continue
        ratios = line["ratios"]
        faster = [ratios.get(f"{kind} time", ratios.get(kind)) for kind in ("training", "inference")]
        measured = [value for value in faster if isinstance(value, float)]
        verdicts = [f"{limit(line):g} times: {met(min(measured) >= limit(line))}"] if measured else []
        verdicts += of_a_search(line)
        cells = [
            f"{line['latents']:,}",
            line["dim"],
            f"{line['codes']:,}",
            number(line["value"] and 1000 * line["value"]),
        ]
        cells += [number(value) if isinstance(value, float) else value or "" for value in faster]
        cells += [number(ratios.get("search to product")), "; ".join(verdicts)]
        found.append("| " + " | ".join(map(str, cells)) + " |")
    others = [
        f"{line['name']}: {line.get('error') or line.get('skipped') or line.get('status')}"
        for line in rows
        if "latents" not in line
    ]
    return [*found, "", *others]


def limit(line: Line) -> float:
    """Return how many times faster than theirs ours has to be."""
    return 3.0 if line["codes"] >= 16_384 else SEARCH_LIMIT


def of_a_search(line: Line) -> list[str]:
    """Return whether a search takes no longer than it may, beside the bare product and by itself."""
    to_product, found = line["ratios"].get("search to product"), []
    most = 1.0 if line["dim"] >= 64 and line["codes"] >= 16_384 else 0.5 if line["codes"] >= 262_144 else None
    if most is not None and to_product is not None:
        found.append(f"at most {most:g} of the product: {met(to_product <= most)}")
    if line["latents"] <= 4_096 and line["codes"] <= 1_024 and line["value"]:
        found.append(f"at most {1000 * CALL:g} ms: {met(line['value'] <= CALL)}")
    return found


def short(value: object) -> object:
    """Return a setting, or a number with three digits."""
    return number(value) if isinstance(value, float) else value


def number(value: float | None, unit: str = "") -> str:
    """Return a number with three digits."""
    if value is None:
        return ""
    digits: Callable[[float], str] = lambda each: f"{each:,.0f}" if abs(each) >= 100 else f"{each:.3g}"  # noqa: E731
    return f"{digits(value)} {unit}".strip()


if __name__ == "__main__":
    main()
