"""What a batch size costs, predicted and counted: steps and images to one loss, at the best of a few learning rates.

    python scripts/batch_law.py scripts/compare/small.yaml --train PHOTOS/train.tar --out results/batch_law.json \
        --batches 8 16 32 64 --rates 1e-3 2e-3 4e-3 --images 12800 --set instruments.curvature_every=25

Every batch sees `--images` images at every rate, which is constant after the warmup, except that larger batches take at least
`--steps` steps. The loss to reach is what the first of the batches has at its best rate at the end. The prediction is made of
what that run measured there. Runs that are in the file already are not made again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from vistok.tokenizer.files import write_whole
from vistok.train.batch_advice import BatchFacts, batch_facts, need
from vistok.train.config import read_config

LOSS = "loss/total"
LOG_EVERY = 5
SMOOTHED = 10
"""Lines of the log that a loss is averaged over; each is a mean over LOG_EVERY steps."""


def trained(config: str, overrides: list[str]) -> list[dict[str, Any]]:
    """Train one run in a process of its own; return its log, made compact."""
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


def table(runs: dict[str, list[dict[str, Any]]], batches: list[int], rates: list[float], optimizer: str) -> str:
    """Return the counted and predicted multiples as Markdown."""
    base = batches[0]
    ends = {rate: smoothed(runs[f"{base} {rate}"])[-1][1] for rate in rates}
    best = min(ends, key=lambda rate: ends[rate])
    facts = batch_facts(last(runs[f"{base} {best}"]), base)
    assert facts is not None, "the base run has no noise scale"
    counted = {
        batch: min(
            ((steps, rate) for rate in rates if (steps := steps_to(ends[best], runs[f"{batch} {rate}"]))), default=None
        )
        for batch in batches
    }
    return "\n".join([*_head(facts, ends[best], optimizer), *_rows(counted, facts, optimizer)])


def _head(facts: BatchFacts, target: float, optimizer: str) -> list[str]:
    ratio = "none" if facts.curvature_ratio is None else f"{facts.curvature_ratio:.3g}"
    return [
        f"Loss {target:.4g}; B_simple {facts.noise_scale:.4g}, b_n {ratio}, B_crit {facts.critical(optimizer):.4g} images.",
        "",
        "| batch | best rate | steps | steps, counted | steps, predicted | images, counted | images, predicted |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]


def _rows(counted: dict[int, tuple[int, float] | None], facts: BatchFacts, optimizer: str) -> list[str]:
    base = counted[facts.batch]
    assert base is not None
    rows = []
    for batch, found in counted.items():
        law = need(facts.batch, batch, facts.critical(optimizer))
        if found is None:
            rows.append(f"| {batch} | - | not reached | - | {law.steps:.2f} | - | {law.images:.2f} |")
            continue
        steps, rate = found
        share = steps / base[0]
        images = share * batch / facts.batch
        rows.append(
            f"| {batch} | {rate:g} | {steps} | {share:.2f} | {law.steps:.2f} | {images:.2f} | {law.images:.2f} |"
        )
    return rows


def main() -> None:
    """Make the runs that the file lacks, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="YAML file of the runs, or the name of a shipped one")
    parser.add_argument("--train", nargs="+", required=True, help="folders or shards of images")
    parser.add_argument("--out", type=Path, required=True, help="where the logs are kept, as JSON")
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16, 32, 64], help="the first is the base")
    parser.add_argument("--rates", type=float, nargs="+", required=True)
    parser.add_argument("--images", type=int, default=12_800, help="images of a run")
    parser.add_argument("--steps", type=int, default=400, help="least steps of a run")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="values for all runs")
    arguments = parser.parse_args()
    runs = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    common = [f"data.train={json.dumps(arguments.train)}", "data.val=[]", "optimizer.final_lr=1", *arguments.set]
    common += [f"run.log_every={LOG_EVERY}", "run.validate_every=1000000", "run.save_every=1000000"]
    for batch in arguments.batches:
        steps = max(arguments.steps, arguments.images // batch)
        for rate in arguments.rates:
            if (name := f"{batch} {rate}") not in runs:
                sizes = [f"data.batch_size={batch}", f"run.steps={steps}", f"optimizer.lr={rate}"]
                runs[name] = trained(arguments.config, [*common, *sizes])
                write_whole(arguments.out, json.dumps(runs).encode())
    optimizer = read_config(arguments.config, [*common, "run.out=unused"]).optimizer.name
    print(table(runs, arguments.batches, arguments.rates, optimizer))


if __name__ == "__main__":
    main()
