"""Where the time of a training step goes: data, tokenizer, optimizer, discriminator; on whatever device there is.

    python scripts/benchmark_training.py configs/vqgan-f16.yaml data.train=photos/ --steps 50 --out results/training.json

Takes a config and overrides as train-tokenizer does, and trains, with the discriminator from the first step. It waits for
the device after each part, so the parts add up to the step. `optimizer fraction` is what Muon, or AdamW, takes of it.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from vistok.images.preprocessing import to_pixels
from vistok.train.config_file import read_config
from vistok.train.data.batches import Batch, training_batches
from vistok.train.run import Run
from vistok.train.step import tokenizer_step

WARM_UP = 3


def timed(parts: dict[str, list[float]], name: str, work: Callable[[], object]) -> object:
    """Do the work, wait for the device, and note the seconds under a name."""
    started = time.perf_counter()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    parts.setdefault(name, []).append(time.perf_counter() - started)
    return result


def measure(run: Run, batches: Iterator[Batch], steps: int) -> dict[str, float]:
    """Return the median seconds of each part of a step."""
    parts: dict[str, list[float]] = {}
    for step in range(1, steps + WARM_UP + 1):
        crops = timed(parts, "data", lambda: next(batches).crops.to(run.accelerator.device))
        pixels = to_pixels(crops)
        if run.config.run.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        micro = list(pixels.chunk(run.config.run.gradient_accumulation))
        result = timed(parts, "tokenizer", lambda step=step, micro=micro: tokenizer_step(run, step, micro))
        timed(parts, "optimizer", run.optimizer.step)
        if run.adversary is not None:
            fake = result.reconstructions
            timed(
                parts,
                "discriminator",
                lambda step=step, micro=micro, fake=fake: run.adversary.learn(step, micro, fake, 1.0),
            )
        timed(parts, "monitor and average", lambda result=result: _watch(run, result.seen))
    return {name: statistics.median(seconds[WARM_UP:]) for name, seconds in parts.items()}


def _watch(run: Run, seen: object) -> None:
    run.monitor.observe(seen)
    run.ema.update(run.model)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("results/training.json"))
    arguments = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as folder:
        config = read_config(arguments.config, [*arguments.overrides, f"run.out={folder}", "run.trackers=[]"])
        if config.adversarial is not None:
            adversarial = config.adversarial.model_copy(update={"start": 0, "ramp": 0})
            config = config.model_copy(update={"adversarial": adversarial})
        run = Run(config)
        total = arguments.steps + WARM_UP
        loader = training_batches(run.crops, 0, total, 0, 1, config.run.gradient_accumulation)
        parts = measure(run, iter(loader), arguments.steps)
    step = sum(parts.values())
    facts = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "torch": torch.__version__,
        "config": str(arguments.config),
        "overrides": arguments.overrides,
        "images per second": config.data.batch_size / step,
        "seconds": parts,
        "fractions": {name: seconds / step for name, seconds in parts.items()},
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
