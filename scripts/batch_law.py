"""What a batch size costs, predicted and counted: steps and images to one loss, at the best of a few learning rates.

    python scripts/batch_law.py scripts/compare/small.yaml --train PHOTOS/train.tar --out results/batch_law.json \
        --batches 8 16 32 64 --rates 1e-3 2e-3 4e-3 --images 12800 --set diagnostics.curvature_every=25

Every batch sees `--images` images at every rate, which is constant after the warmup, except that larger batches take at least
`--steps` steps. The loss to reach is the lowest that every batch reaches at its best rate. The predictions are made from what
the first of the batches has measured at its end. Runs that are in the file already are not made again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from vistok.tokenizer.files import write_whole
from vistok.train.batch_advice import need

LOSS = "loss/total"
NOISE_SCALES = {"curvature": "curvature/noise_scale", "momentum": "noise_scale/momentum/all"}
"""What the law can be asked with."""
LOG_EVERY = 5
SMOOTHED = 10
"""Lines of the log that a loss is averaged over; each is a mean over LOG_EVERY steps."""


def trained(config: str, overrides: list[str]) -> list[dict[str, Any]]:
    """Train one run in a new process; return its log, made compact."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "vistok.train", config, *overrides, f"run.out={out}", "--quiet"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        return compact([json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()])


def compact(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the steps and losses of a log, and the last value of every other scalar in a last line."""
    losses = [{name: line[name] for name in ("step", LOSS)} for line in lines if LOSS in line]
    return [*losses, {name: value for name, value in last(lines).items() if name != LOSS}]


def smoothed(lines: list[dict[str, Any]]) -> list[tuple[int, float]]:
    """Return steps and losses averaged over the lines up to there."""
    losses = [(int(line["step"]), float(line[LOSS])) for line in lines if LOSS in line]
    return [
        (losses[end - 1][0], sum(loss for _, loss in losses[end - SMOOTHED : end]) / SMOOTHED)
        for end in range(SMOOTHED, len(losses) + 1)
    ]


def steps_to(target: float, lines: list[dict[str, Any]]) -> int | None:
    """Return the first step at which the loss is that small; None if it never is."""
    return next((step for step, loss in smoothed(lines) if loss <= target), None)


def last(lines: list[dict[str, Any]]) -> dict[str, float]:
    """Return the last value of each scalar."""
    return {name: value for line in lines for name, value in line.items() if name != "alarms"}


def table(runs: dict[str, list[dict[str, Any]]], batches: list[int], rates: list[float]) -> str:
    """Return the counted and predicted multiples as Markdown, to the lowest loss that every batch reaches."""
    ends = {batch: min((smoothed(runs[f"{batch} {rate}"])[-1][1], rate) for rate in rates) for batch in batches}
    target, base = max(loss for loss, _ in ends.values()), batches[0]
    values = last(runs[f"{base} {ends[base][1]}"])
    laws = {name: values[path] for name, path in NOISE_SCALES.items() if path in values}
    lines = [f"Loss {target:.3g}; at batch {base} " + ", ".join(f"{name} {scale:.3g}" for name, scale in laws.items())]
    columns = ["batch", "best rate", "steps", "images", "steps x", *(f"by {name}" for name in laws)]
    lines += ["", "| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    first = None
    for batch in batches:
        reached = [(steps, rate) for rate in rates if (steps := steps_to(target, runs[f"{batch} {rate}"]))]
        steps, rate = min(reached)
        first = first or steps
        predicted = [f"{need(base, batch, scale).steps:.2f}" for scale in laws.values()]
        cells = [f"{batch}", f"{rate:g}", f"{steps:,}", f"{steps * batch:,}", f"{steps / first:.2f}", *predicted]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Make the runs that the file lacks, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="YAML file of the runs, or the name of a shipped one")
    parser.add_argument("--train", nargs="+", required=True, help="folders or shards of images")
    parser.add_argument("--out", type=Path, required=True, help="where the logs are kept, as JSON")
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16, 32, 64], help="the first is the base")
    parser.add_argument("--rates", type=float, nargs="+", required=True)
    parser.add_argument("--images", type=int, default=12_800, help="images of a run")
    parser.add_argument("--steps", type=int, default=400, help="minimum steps of a run")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="values for all runs")
    arguments = parser.parse_args()
    runs = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    common = [f"data.train={json.dumps(arguments.train)}", "data.val=[]", "optimizer.final_lr_ratio=1", *arguments.set]
    common += [f"run.log_every={LOG_EVERY}", "run.validate_every=1000000", "run.save_every=1000000"]
    for batch in arguments.batches:
        steps = max(arguments.steps, arguments.images // batch)
        for rate in arguments.rates:
            if (name := f"{batch} {rate}") not in runs:
                sizes = [f"data.batch_size={batch}", f"run.steps={steps}", f"optimizer.lr={rate}"]
                runs[name] = trained(arguments.config, [*common, *sizes])
                write_whole(arguments.out, json.dumps(runs).encode())
    print(table(runs, arguments.batches, arguments.rates))


if __name__ == "__main__":
    main()
