"""Runs that differ in a few settings, side by side: each arm with each seed, and a table of how they end.

    python scripts/compare_runs.py scripts/compare/small.yaml --train PHOTOS/train.tar --val PHOTOS/val.tar \
        --out results/batch.json --seeds 0 1 --show loss/total --arm "batch 16" --arm "batch 32" data.batch_size=32

An arm is a name and values that replace the config's. Arms of one seed begin with the same weights and see the same crops,
unless their settings say otherwise. Runs that are already in the file are skipped.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from vistok.tokenizer.files import write_whole

PSNR = "validation/psnr"


def trained(config: str, overrides: list[str], folder: Path) -> tuple[dict[str, float], float]:
    """Train one run in a new process; return the last value of each scalar of its log, and the seconds."""
    command = [sys.executable, "-m", "vistok.train", config, *overrides, f"run.out={folder}", "--quiet"]
    started = time.perf_counter()
    ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - started
    values: dict[str, float] = {}
    if (folder / "metrics.jsonl").exists():
        for line in (folder / "metrics.jsonl").read_text().splitlines():
            values |= json.loads(line)
    if ended.returncode:
        values = {"ended with": ended.returncode, **values}
        print(ended.stderr.strip(), file=sys.stderr)
    return values, seconds


def markdown(runs: list[dict[str, Any]], arms: dict[str, list[str]], show: list[str]) -> str:
    """Return a row for each arm: means over the seeds, and half of the spread where there are several.

    Seeds differ more than arms do, so the second column has the mean difference from the first arm with the same seed.
    """
    columns = [PSNR, *show]
    by_arm = {arm: {run["seed"]: run["values"] for run in runs if run["arm"] == arm} for arm in arms}
    first = by_arm[next(iter(arms))]
    lines = ["| | seeds | " + " | ".join([PSNR, "less the first", *show]) + " |"]
    lines.append("| --- |" + " --- |" * (len(columns) + 2))
    for arm, mine in by_arm.items():
        cells = [_cell([values[path] for values in mine.values() if path in values]) for path in columns]
        pairs = [(values, first[seed]) for seed, values in mine.items() if seed in first]
        differences = [one[PSNR] - other[PSNR] for one, other in pairs if PSNR in one and PSNR in other]
        cells.insert(1, _cell(differences, "+.2f") if mine is not first else "")
        lines.append(f"| {arm} | {len(mine)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: list[float], form: str = ".4g") -> str:
    if not values:
        return "-"
    spread = f" ± {(max(values) - min(values)) / 2:.2g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{spread}"


def parse(words: list[str]) -> argparse.Namespace:
    """Read the command line; an arm ends where the next option begins."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="YAML file of the runs, or the name of a shipped one")
    parser.add_argument("--train", nargs="+", required=True, help="folders or shards of images")
    parser.add_argument("--val", nargs="+", required=True, help="folders or shards of other images")
    parser.add_argument("--out", type=Path, required=True, help="where the runs are kept, as JSON")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--show", nargs="*", default=[], help="log paths whose last values the table has")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="values for all arms")
    parser.add_argument("--arm", nargs="+", action="append", required=True, metavar="NAME KEY=VALUE")
    return parser.parse_args(words)


def main() -> None:
    """Make the runs that the file lacks, and print the table."""
    arguments = parse(sys.argv[1:])
    arms = {name: overrides for name, *overrides in arguments.arm}
    common = [f"data.train={json.dumps(arguments.train)}", f"data.val={json.dumps(arguments.val)}", *arguments.set]
    runs = json.loads(arguments.out.read_text())["runs"] if arguments.out.exists() else []
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    for seed in arguments.seeds:
        for arm, overrides in arms.items():
            settings = [arguments.config, *common, *overrides, f"run.seed={seed}"]
            if any(run["settings"] == settings for run in runs):
                continue
            with tempfile.TemporaryDirectory() as folder:
                values, seconds = trained(settings[0], settings[1:], Path(folder) / "run")
            runs.append({"arm": arm, "seed": seed, "settings": settings, "seconds": seconds, "values": values})
            write_whole(arguments.out, (json.dumps({"runs": runs}, indent=1) + "\n").encode())
            print(f"{arm}, seed {seed}: {values.get(PSNR, float('nan')):.2f} dB in {seconds:.0f} s", flush=True)
    print(markdown(runs, arms, arguments.show))


if __name__ == "__main__":
    main()
