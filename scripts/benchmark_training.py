"""Speed, memory and parts of a training step, in each of the ways to train; on whatever device there is.

    python scripts/benchmark_training.py configs/vqgan-f16.yaml data.train=photos/ --steps 20 --out results/training.json
    python scripts/benchmark_training.py configs/vqgan-f16.yaml data.train=photos/ --compile --memory-format channels_last

Takes a config and overrides as train-tokenizer does, and trains, with the discriminator from the first step. `images per
second` is of whole steps, as a run takes them. The parts are of further steps that wait for the device after each part, so they
add up to more. `launches` counts the operations that a part sends to the device besides views. With --all it measures every way
to train that fits into memory, each by itself.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState
from torch.utils._python_dispatch import TorchDispatchMode

from vistok.train.config import TrainConfig
from vistok.train.config_file import read_config
from vistok.train.optimizer import skipping
from vistok.train.optimizer.skipping import clipped_norm
from vistok.train.run import Run
from vistok.train.step import observe_step, opponent_step, optimizer_step, tokenizer_step, train_step

WARM_UP = 3
WAYS = {"run.memory_format": ["contiguous", "channels_last"], "run.compile": [False, True]}
"""Options whose best values only a measurement tells."""


class Launches(TorchDispatchMode):
    """Counts operations that are no views; one over a list of tensors counts once."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        self.count += not function.is_view and function._schema.name not in ("aten::detach", "aten::empty_like")
        return function(*arguments, **(keywords or {}))


def synchronize() -> None:
    """Wait for the device."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure(
    config: TrainConfig, steps: int, report: Callable[[dict[str, Any]], Any] = lambda _: None
) -> dict[str, Any]:
    """Return images per second, peak gigabytes (10^9 bytes), and seconds and launches of the parts of a step.

    `report` gets the first two as soon as they are known.
    """
    AcceleratorState._reset_state(reset_partial_state=True)
    torch.compiler.reset()
    run = Run(config)
    batches = run.batches(0)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    _whole_steps(run, batches, 1, 1)
    first = time.perf_counter() - began
    _whole_steps(run, batches, 2, WARM_UP)
    began = time.perf_counter()
    _whole_steps(run, batches, 2 + WARM_UP, steps)
    seconds = (time.perf_counter() - began) / steps
    found: dict[str, Any] = {
        "images per second": config.data.batch_size / seconds,
        "seconds of a step": seconds,
        "seconds of the first step": first,
        "peak gigabytes": torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else None,
    }
    report(found)
    parts: dict[str, list[float]] = {}
    launches: dict[str, int] = {}
    for step in range(2 + WARM_UP + steps, 2 + WARM_UP + steps + max(3, steps // 4)):
        _parts(run, batches, step, parts, launches)
    medians = {name: statistics.median(values) for name, values in parts.items()}
    total = sum(medians.values())
    fractions = {name: value / total for name, value in medians.items()}
    return found | {"seconds": medians, "fractions": fractions, "launches": launches}


def measure_ways(path: Path, overrides: Sequence[str], steps: int) -> Iterator[dict[str, Any]]:
    """Yield the options and `measure` of each way to train, or the error of one that does not fit."""
    for values in product(*WAYS.values()):
        options = dict(zip(WAYS, values, strict=True))
        try:
            yield options | measure(
                read(path, [*overrides, *(f"{key}={json.dumps(v)}" for key, v in options.items())]), steps
            )
        except (RuntimeError, torch.OutOfMemoryError) as error:
            yield options | {"error": str(error).splitlines()[0]}
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def read(path: Path, overrides: Sequence[str]) -> TrainConfig:
    """Return the config of a run that writes nothing, whose discriminator learns from the first step."""
    config = read_config(path, [f"run.out={tempfile.gettempdir()}/benchmark-training", *overrides, "run.trackers=[]"])
    if config.adversarial is not None:
        adversarial = config.adversarial.model_copy(update={"start": 0, "ramp": 0})
        config = config.model_copy(update={"adversarial": adversarial})
    return config


def _whole_steps(run: Run, batches: Iterator[Any], first: int, steps: int) -> None:
    for step in range(first, first + steps):
        train_step(run, step, next(batches)[0], is_logged=False, is_checked=False)
    synchronize()


def _parts(
    run: Run, batches: Iterator[Any], step: int, parts: dict[str, list[float]], launches: dict[str, int]
) -> None:
    """Take a step as `train_step` does, and note what each part took."""

    def timed(name: str, work: Callable[[], Any]) -> Any:
        synchronize()
        began = time.perf_counter()
        if name in ("optimizer", "monitor and average") and name not in launches:
            with Launches() as counted:
                result = work()
            launches[name] = counted.count
            return result
        result = work()
        synchronize()
        parts.setdefault(name, []).append(time.perf_counter() - began)
        return result

    images = timed("data", lambda: next(batches)[0])
    micro = list(images.chunk(run.config.run.gradient_accumulation))
    result = timed("tokenizer", lambda: tokenizer_step(run, step, micro))
    norm = timed("clipping", lambda: clipped_norm(run.accelerator, run.optimizer, run.optimizer_config.clip_norm))
    decision = run.finite_checks["tokenizer"].observe(step, result.scalars, "loss/total", norm)
    timed("optimizer", lambda: optimizer_step(run, 1.0, decision))
    learned = timed("discriminator", lambda: opponent_step(run, step, micro, result, 1.0, decision))
    timed("monitor and average", lambda: observe_step(run, step, result, norm, decision, learned))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--compile", action="store_true", help="sets run.compile")
    parser.add_argument("--memory-format", choices=["auto", "contiguous", "channels_last"], default="auto")
    parser.add_argument("--activation-checkpointing", action="store_true")
    parser.add_argument("--all", action="store_true", help="measure each memory format, compiled and not")
    parser.add_argument("--as-on-a-gpu", action="store_true", help="take the way of a GPU on a CPU, to count launches")
    parser.add_argument("--out", type=Path, default=Path("results/training.json"))
    arguments = parser.parse_intermixed_args()
    if arguments.as_on_a_gpu:
        skipping.runs_ahead = lambda _device: True
    options = [f"run.activation_checkpointing={json.dumps(arguments.activation_checkpointing)}"]
    if not arguments.all:
        options += [f"run.compile={json.dumps(arguments.compile)}", f"run.memory_format={arguments.memory_format}"]
    overrides = [*arguments.overrides, *options]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)

    def write(found: Any) -> str:
        facts = {
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            "torch": torch.__version__,
            "config": str(arguments.config),
            "overrides": overrides,
            "measured": found,
        }
        text = json.dumps(facts, indent=1)
        arguments.out.write_text(text + "\n")
        return text

    if arguments.all:
        print(write(list(measure_ways(arguments.config, overrides, arguments.steps))))
    else:
        print(write(measure(read(arguments.config, overrides), arguments.steps, write)))


if __name__ == "__main__":
    main()
