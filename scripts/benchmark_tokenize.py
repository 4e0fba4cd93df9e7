"""How fast tokenize-images is on the CPU against the network alone and against the usual script, on real photos, in one run.

    python scripts/benchmark_tokenize.py --photos '../shared/data/photos-*.tar' --out results/tokenize.json [--small]

Six ways take turns on the same files for some rounds, forwards and backwards: the usual script (scripts/usual_script.py), the
same with one thread of torch, and in float32 and with `--fast` the network alone on images in memory, and tokenize-images once
the model is loaded. Ratios are medians of those within a round. Those by `cores` compare the seconds that cores worked,
which other programs hardly disturb; they take the usual script with one thread, as if two were twice as fast. By time, other
programs make its threads wait for each other, so look at `load`. Beside each ratio is the most that is possible: reading and
encoding take turns on the same cores, and a core multiplies no faster than in one large convolution (scripts/core_peak.py).
Prints the tables for RESULTS.md.
"""

import argparse
import glob
import json
import os
import platform
import statistics
import sys
import tarfile
import tempfile
import time
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from tokenize_arms import EXACT, FAST, PROCESSES, USUAL, Cost, Work, start

from benchmark_encode import _processor
from core_peak import Peak, peak_of

IMAGES = {"photo-f8": {USUAL: 96, EXACT: 384, FAST: 576}, "llamagen": {USUAL: 4, EXACT: 8, FAST: 16}}
SMALL = {"photo-f8": {USUAL: 8, EXACT: 16, FAST: 16}, "llamagen": {USUAL: 8, EXACT: 16, FAST: 16}}
NAMES = {"photo-f8": "photo-f8", "llamagen": "LlamaGen VQ-16's size"}
LEAST = {USUAL: 1, EXACT: 2, FAST: 16}
CORES = 2
RATIOS = {
    "exact to its network alone": ("exact, end to end", "exact, network alone", 0.95),
    "fast to its network alone": ("fast, end to end", "fast, network alone", 0.95),
    "exact to the usual script": ("exact, end to end", "usual script", 1.5),
    "fast to the usual script": ("fast, end to end", "usual script", 5.0),
}
"""Two ways, and how many times the rate of the second the first one is to have."""
ARITHMETIC = {"exact, end to end": "float32", "fast, end to end": "bfloat16"}


def measure(
    model: str, photos: list[Path], counts: dict[str, int], rounds: int, seconds: float, is_small: bool, precision: str
) -> dict[str, Any]:
    """Measure all ways in turns until the rounds or the seconds are over; at least one round."""
    works = {kind: Work(model, is_small, photos[: counts[kind]], kind, precision) for kind in PROCESSES}
    kinds: dict[str, Connection] = {}
    loads: list[float] = []
    with ExitStack() as stack:
        connections = {kind: stack.enter_context(start(work)) for kind, work in works.items()}
        for connection in connections.values():
            kinds |= dict.fromkeys(connection.recv(), connection)
        costs: dict[str, list[Cost]] = {name: [] for name in kinds}
        began = time.perf_counter()
        for number in range(rounds):
            loads.append(os.getloadavg()[0])
            for name in list(kinds)[:: -1 if number % 2 else 1]:
                kinds[name].send(name)
                costs[name].append(kinds[name].recv())
            print(f"{model}: {number + 1} of {rounds} rounds, load {loads[-1]:.1f}", file=sys.stderr, flush=True)
            if (time.perf_counter() - began) * (number + 2) / (number + 1) > seconds:
                break
    return {"images": counts, "load": loads, "ways": summary(costs)}


def summary(costs: dict[str, list[Cost]]) -> dict[str, Any]:
    """Return the images per second and the core-seconds per image of each way: the medians, and those of all rounds."""
    found = {}
    for name, turns in costs.items():
        rates = [turn.images / turn.seconds for turn in turns]
        cores = [turn.core_seconds / turn.images for turn in turns]
        medians = {"images_per_second": statistics.median(rates), "core_seconds_per_image": statistics.median(cores)}
        found[name] = medians | {"rounds": rates, "core_seconds": cores}
    return found


def ratios(ways: dict[str, Any], peak: Peak) -> dict[str, Any]:
    """Return the medians over the rounds of each ratio, by seconds and by what cores worked, and the most that is possible."""
    found: dict[str, Any] = {}
    reading = ways["reading alone"]["core_seconds_per_image"]
    for title, (first, second, target) in RATIOS.items():
        by_time = [one / other for one, other in zip(ways[first]["rounds"], ways[second]["rounds"], strict=True)]
        least = ways["usual script, one thread" if second == "usual script" else second]["core_seconds"]
        by_cores = [other / one for one, other in zip(ways[first]["core_seconds"], least, strict=True)]
        if second == "usual script":
            possible = CORES / (peak.seconds(ARITHMETIC[first]) + reading)
            found[f"{title}, at most"] = {"time": possible / ways[second]["images_per_second"]}
        else:
            network = ways[second]["core_seconds_per_image"]
            found[f"{title}, at most"] = {"time": network / (network + reading)}
        found[title] = {"time": statistics.median(by_time), "cores": statistics.median(by_cores), "target": target}
    return found


def table(models: dict[str, Any]) -> str:
    """Return the results as the tables of RESULTS.md."""
    names = " | ".join(NAMES[model] for model in models)
    lines = [f"| images per second; core-seconds per image | {names} |", "| --- |" + " --- |" * len(models)]
    for name in next(iter(models.values()))["ways"]:
        ways = [values["ways"][name] for values in models.values()]
        cells = (f"{way['images_per_second']:.2f}; {way['core_seconds_per_image']:.4f}" for way in ways)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", f"| ratio by time (at most); by the work of cores | {names} | target |"]
    lines.append("| --- |" + " --- |" * (len(models) + 1))
    for title, (*_, target) in RATIOS.items():
        cells = (_ratio(values["ratios"], title) for values in models.values())
        lines.append(f"| {title} | {' | '.join(cells)} | {target:g} |")
    return "\n".join(lines)


def _ratio(found: dict[str, Any], title: str) -> str:
    most = found[f"{title}, at most"]["time"]
    return f"{found[title]['time']:.2f} ({most:.2f}); {found[title]['cores']:.2f}"


def unpacked(pattern: str, count: int, folder: Path) -> list[Path]:
    """Unpack the first photos of some tars, each under a name of its own."""
    paths: list[Path] = []
    for shard in sorted(glob.glob(pattern)):
        with tarfile.open(shard) as tar:
            for member in tar:
                if len(paths) == count:
                    return paths
                if member.isfile() and member.name.lower().endswith((".jpg", ".jpeg", ".png")):
                    content = tar.extractfile(member)
                    assert content
                    paths.append(folder / f"{len(paths):05d}{Path(member.name).suffix}")
                    paths[-1].write_bytes(content.read())
    raise SystemExit(f"{pattern} has {len(paths)} photos, but {count} are needed: give more shards.")


def main() -> None:
    """Measure, write the JSON file after each model and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, help="Pattern of tars with photos.")
    parser.add_argument("--out", type=Path, default=Path("results/tokenize.json"))
    parser.add_argument("--rounds", type=int, default=7, help="At most. Default: 7.")
    parser.add_argument("--seconds", type=float, default=400, help="For all rounds of all models. Default: 400.")
    parser.add_argument(
        "--small", action="store_true", help="64 x 64 pixels, a narrow network, two rounds: does it run?"
    )
    parser.add_argument("--only", choices=list(IMAGES), help="One model. Default: both.")
    parser.add_argument(
        "--precision", default="", help="For fast, such as bfloat16-compiled-8. Default: the command's."
    )
    parser.add_argument("--fewer", type=int, default=1, help="Divide the numbers of images, where others are busy.")
    given = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    models = [given.only] if given.only else list(IMAGES)
    machine = {
        "processor": _processor(),
        "cores": CORES,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    found: dict[str, Any] = {"machine": machine, "models": {}}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        photos = unpacked(given.photos, max(max(IMAGES[model].values()) for model in models), Path(folder))
        for model in models:
            rounds, seconds = 2 if given.small else given.rounds, given.seconds / len(models)
            full = (SMALL if given.small else IMAGES)[model]
            counts = {kind: max(LEAST[kind], count // given.fewer) for kind, count in full.items()}
            measured = measure(model, photos, counts, rounds, seconds, given.small, given.precision)
            peak = peak_of(model, given.small)
            found["models"][model] = measured | {"peak": peak._asdict(), "ratios": ratios(measured["ways"], peak)}
            given.out.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found["models"]))


if __name__ == "__main__":
    main()
