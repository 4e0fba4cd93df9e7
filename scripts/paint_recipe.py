"""Run recipe A of examples/paint, command by command as its page has them, and write what it took and what came out.

    python scripts/paint_recipe.py --data ../shared/data --out runs/paint

`--data` has tiny-train-*.tar and classes.txt. Seconds are those of the clock; core-seconds are those of all cores together, so
leave the machine alone meanwhile. A command that has ended is not run again: its time is in OUT/times.json. The two sheets
are OUT/sheet.png and OUT/nearest.png; what a command printed is in OUT/logs.
"""

import argparse
import json
import platform
import re
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from vistok.tokenizer.files import write_whole

PAINT = Path(__file__).resolve().parent.parent / "examples" / "paint"
STEPS = {
    "prepare": "prepare.py",
    "finetune": "finetune-tokenizer",
    "tokenize": "tokenize-images images/train",
    "tokenize-held-out": "tokenize-images images/held-out",
    "pack-train": "pack-sequences tokens/train",
    "pack-held-out": "pack-sequences tokens/held-out",
    "train": "train.py",
    "sample": "--out sheet.png",
    "nearest": "--out nearest.png",
}
"""The commands by the words that tell each from the others."""
RMSE = re.compile(r"RMSE to the nearest training image: ([\d.]+), min ([\d.]+): (.+)")


def commands() -> dict[str, list[str]]:
    """Return the commands of recipe A as the page has them."""
    page = (PAINT / "README.md").read_text().partition("## Recipe B")[0]
    lines = [line.strip() for line in page.splitlines() if line.startswith("    ")]
    return {name: shlex.split(next(line for line in lines if words in line)) for name, words in STEPS.items()}


def run(name: str, command: list[str], data: Path, out: Path) -> dict[str, float]:
    """Run a command in `out`; return its seconds and core-seconds, or end with what it printed."""
    placed = {"tiny-train-*.tar": str(data / "tiny-train-*.tar"), "classes.txt": str(data / "classes.txt")}
    words = [placed.get(word, word).replace("examples/paint/", f"{PAINT}/") for word in command]
    log = out / "logs" / f"{name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with log.open("w") as printed:
        code = subprocess.run(words, cwd=out, stdout=printed, stderr=subprocess.STDOUT).returncode
    if code:
        raise SystemExit(f"{name} ended with {code}: see {log}.")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cores = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(time.perf_counter() - started, 1), "core_seconds": round(cores, 1)}


def result(out: Path, times: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Gather times, curve and figures of a folder in which all commands have ended."""
    finetuned = json.loads((out / "small" / "metrics.json").read_text())
    counted = [len(list((out / "images" / part).glob("*.jpg"))) for part in ("train", "held-out")]
    nearest = RMSE.findall((out / "logs" / "nearest.txt").read_text())
    return {
        "machine": f"{torch.get_num_threads()} cores of {platform.machine()}, torch {torch.__version__}",
        "images": dict(zip(("train", "held_out"), counted, strict=True)),
        "steps_of_recipe": times,
        "tokenizer": {f"psnr_{side}": round(finetuned[side]["psnr"], 2) for side in ("before", "after")},
        "curve": json.loads((out / "painter" / "curve.json").read_text()),
        "rmse_to_nearest_training_image": {
            what: {"median": float(median), "min": float(least)} for median, least, what in nearest
        },
    }


def main() -> int:
    """Run what has not ended, and write the result; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--result", type=Path, default=Path("results/paint.json"))
    arguments = parser.parse_args()
    kept = arguments.out / "times.json"
    times = json.loads(kept.read_text()) if kept.exists() else {}
    for name, command in commands().items():
        if name not in times:
            times[name] = run(name, command, arguments.data.resolve(), arguments.out)
            write_whole(kept, json.dumps(times, indent=1).encode())
        print(f"{name}: {times[name]['seconds']:.0f} s, {times[name]['core_seconds']:.0f} core-seconds", flush=True)
    write_whole(arguments.result, (json.dumps(result(arguments.out, times), indent=1) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
