"""A training step, by scripts/benchmark_training.py, and a short training run to its exported tokenizer."""

import json
import sys
import tempfile
import time
from pathlib import Path

import torch

from .check import ROOT, Check
from .child import TimeUpError, run_child
from .lines import read_lines

BACKBONE = "tf_efficientnet_lite0"
TRAIN = "from vistok.cli.launch import {0}; {0}()"
SMALL = (
    *("data.size=32", "data.batch_size=2", "data.workers=0", "data.short_sides=[32]", "run.precision=float32"),
    *("model.architecture.encoder.channels=[32,32,32]", "model.architecture.decoder.channels=[32,32,32]"),
    *("adversarial.discriminator.channels=8", "adversarial.discriminator.layers=1", "model.preprocessing.size=32"),
)
END = 60
"""Seconds at the end of a run for the last checkpoint, the export and the evaluation."""
EVALUATION = 25
"""Of these, for the evaluation."""


VARIANTS = {
    "as configured": [],
    "compiled": ["--compile"],
    "checkpointing": ["--activation-checkpointing"],
    "channels-last": ["--memory-format", "channels_last"],
}
"""Ways to train, the most valuable first, by the options of scripts/benchmark_training.py."""


def step(check: Check) -> None:
    """Measure steps of the VQGAN recipe with all losses: as it is, compiled, checkpointed, in the other layout."""
    config = ROOT / "configs" / ("photo-f16.yaml" if check.is_small else "vqgan-f16.yaml")
    with tempfile.TemporaryDirectory() as folder:
        common = [*data(check), *perceptual(check, Path(folder)), *(SMALL if check.is_small else ())]
        for name, options in VARIANTS.items():
            if check.is_small and "--compile" in options:
                continue
            with check.attempt(name):
                measure_step(check, name, [str(config), *common, *options], Path(folder) / f"{name}.json")


def measure_step(check: Check, name: str, options: list[str], out: Path) -> None:
    """Write what one way takes; where the time ends before its parts are known, the speed and the memory alone."""
    call = [sys.executable, str(ROOT / "scripts" / "benchmark_training.py"), *options, "--out", str(out)]
    facts = {}
    try:
        run_child([*call, "--steps", "1" if check.is_small else "8"], check.child_seconds())
    except TimeUpError:
        facts["unfinished"] = True
        if not out.exists():
            raise
    found = json.loads(out.read_text())
    check.write(f"training step, {name}", **found.pop("measured"), **found, **facts)


def run(check: Check) -> None:
    """Train photo-f16 for the time of the section, export it, and evaluate it on the validation photos."""
    with tempfile.TemporaryDirectory() as folder:
        common = [*data(check), *perceptual(check, Path(folder))]
        common += list(SMALL) if check.is_small else ["run.compile=true"] if is_known("run.compile=true") else []
        started = time.time()
        trial = 2 if check.is_small else 60
        train(check, Path(folder) / "trial", trial, common)
        seconds = time.time() - started
        speed = read_lines(Path(folder) / "trial" / "timing.jsonl")[-1]["time/images_per_second"]
        batch = 2 if check.is_small else 64
        steps = 4 if check.is_small else max(trial, int((check.seconds_left() - END - seconds) * speed / batch))
        check.write("training run, planned", steps=steps, images_per_second=speed, trial_seconds=seconds)
        out = Path(check.options.get("keep") or folder) / "photo-f16"
        for line in train(
            check, out, steps, [*common, f"adversarial.start={steps // 3}", f"adversarial.ramp={steps // 9}"]
        ):
            check.write("training run, curve", **line)
        size = (out / "export" / "model.safetensors").stat().st_size
        check.write("training run, exported", value=size / 1e6, unit="MB", folder=str(out / "export"))
        evaluate(check, out / "export", Path(folder) / "evaluated")


def train(check: Check, out: Path, steps: int, overrides: list[str]) -> list[dict[str, float]]:
    """Train and return the lines of the log; a run that is late ends, with the tokenizer of its last validation."""
    every = max(1, steps // 20)
    own = [f"run.out={out}", f"run.steps={steps}", f"run.log_every={every}", f"run.validate_every={max(1, steps // 4)}"]
    own += ["run.trackers=[]", f"run.save_every={steps}"]
    call = [sys.executable, "-c", TRAIN.format("train_tokenizer"), str(ROOT / "configs" / "photo-f16.yaml")]
    try:
        run_child([*call, *own, *overrides], check.child_seconds() - EVALUATION)
    except TimeUpError:
        check.write("training run", unfinished=True, planned=steps)
    return read_lines(out / "metrics.jsonl")


def evaluate(check: Check, folder: Path, out: Path) -> None:
    """Write the quality on the validation photos."""
    photos = check.options.get("validation") or str(ROOT / "tests" / "photos")
    run_child([sys.executable, "-c", TRAIN.format("evaluate_tokenizer"), str(folder), photos, "--out", str(out)])
    metrics = json.loads((out / "metrics.json").read_text())
    check.write("training run, quality", value=metrics["psnr"], unit="dB", metrics=metrics)


def data(check: Check) -> list[str]:
    """Return the overrides that name the photos: those that were given, or those of the tests."""
    photos = check.options.get("photos") or str(ROOT / "tests" / "photos")
    validation = check.options.get("validation") or str(ROOT / "tests" / "photos")
    return [f"data.train={photos}", f"data.val={validation}"]


def perceptual(check: Check, folder: Path) -> list[str]:
    """Return the overrides of the perceptual network; without a file it has random weights, which cost the same time."""
    import timm
    from safetensors.torch import save_file

    name = "test_efficientnet" if check.is_small else BACKBONE
    weights = None if check.is_small else check.options.get("perceptual")
    if not weights:
        check.write("perceptual network", warning="random weights: no quality is measured")
        weights = str(folder / "perceptual.safetensors")
        torch.manual_seed(0)
        save_file(timm.create_model(name).state_dict(), weights)
    return [f"criteria.perceptual.backbone={name}", f"criteria.perceptual.weights={weights}"]


def is_known(override: str) -> bool:
    """Return whether the section run has the key of an override."""
    from vistok.train.run_config import RunConfig

    return override.removeprefix("run.").split("=")[0] in RunConfig.model_fields
