"""What batches of one size gain on photos of differing sizes, against batches of neighbours as they come.

    python scripts/benchmark_sizes.py photos-train-*.tar --size native --out results/sizes.json [--device cuda]

Neighbours of one size as they come, 8 images a batch, against images that wait for others of their size, with a budget of the
tokens of 8 images of 256 x 256, and with the budget of the device. All in one run, in turns, with the same tokenizer. The
networks' calls are counted, and the images in them, of which those that only fill a batch up are padding.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

import vistok
from vistok.inference.api import Tokenizer
from vistok.inference.arithmetic import EXACT_ARITHMETIC
from vistok.inference.batch_limit import BatchLimit, parse_limit
from vistok.inference.fast import fast_precision
from vistok.inference.inputs.plan import Plan, plan_shards
from vistok.inference.token_shards.formats import SHARD_FORMATS
from vistok.inference.token_shards.manifest import new_manifest
from vistok.inference.token_shards.store import LocalStore
from vistok.inference.tokenize.engines.table import ENGINES
from vistok.inference.tokenize.job import Job, encoders_for
from vistok.inference.tokenize.results import tokenize_shards
from vistok.inference.tokenize.settings import choose_precision, given_limit
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.tokenizer.system import usable_cores


def count_calls(tokenizer: Tokenizer) -> Counter[str]:
    """Return counts of the calls of the encoder and of the images in them, which go on."""
    counts: Counter[str] = Counter()
    encode = tokenizer.model.encode_latent

    def counted(pixels: torch.Tensor) -> torch.Tensor:
        counts["calls"] += 1
        counts["images"] += len(pixels)
        return encode(pixels)

    vars(tokenizer.model)["encode_latent"] = counted
    return counts


def run(
    plan: Plan, tokenizer: Tokenizer, fast: bool, limit: BatchLimit, waiting: int | None
) -> tuple[int, float, float]:
    """Tokenize into a new folder; return the number of images, the seconds, and those of the processors."""
    precision = fast_precision(tokenizer.device, compiled=False, batch_size=limit) if fast else EXACT_ARITHMETIC
    with tempfile.TemporaryDirectory() as out:
        manifest = new_manifest(tokenizer, "photo-f8", precision, "wds", "none")
        encoders = encoders_for(tokenizer.device.type, usable_cores())
        job = Job(
            LocalStore(Path(out)),
            manifest,
            tokenizer,
            SHARD_FORMATS["wds"],
            limit,
            usable_cores(),
            encoders,
            waiting_images=waiting,
        )
        started, worked = time.perf_counter(), time.process_time()
        totals = tokenize_shards(plan.shards, job, ENGINES["local"])
        return totals.images, time.perf_counter() - started, time.process_time() - worked


def benchmark(inputs: list[str], size: str, device: str, rounds: int, batch: int, modes: list[str]) -> dict[str, Any]:
    """Measure each way in turns and return the rows as they go into the JSON file."""
    plan = plan_shards(inputs, 1000)
    tokenizer = vistok.load("photo-f8", device).with_preprocessing(PreprocessingConfig(size=size))
    counts = count_calls(tokenizer)
    own = parse_limit(choose_precision(True, None, tokenizer, plan, None).split("-")[2])
    same = given_limit(batch, None, tokenizer)
    assert same
    ways = {
        "neighbours": (BatchLimit(batch), 0),
        "neighbours, tokens": (same, 0),
        "gathered, tokens": (same, None),
        "gathered, default": (own, None),
    }
    turns: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        for mode in modes:
            for way, (limit, waiting) in ways.items():
                counts.clear()
                images, seconds, worked = run(plan, tokenizer, mode == "fast", limit, waiting)
                row = {
                    "images": images,
                    "network_calls": counts["calls"],
                    "padding": 1 - images / counts["images"],
                    "images_per_second": images / seconds,
                    "images_per_processor_second": images / worked,
                }
                name = f"{mode}: {way}, {limit}"
                turns.setdefault(name, []).append(row)
                print(f"{name}: {row}", flush=True)
    return {"size": size, "device": device, "turns": turns}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+")
    parser.add_argument("--size", default="native")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8, help="images of 256 x 256 per batch, or of the area")
    parser.add_argument("--modes", nargs="+", choices=("fast", "exact"), default=["fast", "exact"])
    parser.add_argument("--out", type=Path, default=Path("results/sizes.json"))
    given = parser.parse_args()
    result = benchmark(given.inputs, given.size, given.device, given.rounds, given.batch, given.modes)
    given.out.write_text(json.dumps(result, indent=2) + "\n")
