"""How fast photo-f8 encodes JPEG files of 256 x 256, against a plain float32 loop and against the model alone.

    python scripts/benchmark_encode.py --out results/encode.json

All rates come from one run on the same files, cut from tests/photos. Needs nothing outside the repository.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import vistok
from bulk_parts import job_of
from vistok.images.preprocessing import stack_pixels
from vistok.inference.arithmetic import EXACT_ARITHMETIC, Encode, agreement
from vistok.inference.fast import FastEncoder, fast_precision
from vistok.inference.inputs.plan import plan_shards
from vistok.inference.tokenize.engines.table import ENGINES
from vistok.inference.tokenize.results import tokenize_shards
from vistok.tokenizer.system import usable_cores

PHOTOS = Path(__file__).parents[1] / "tests" / "photos"
SIDE = 256
BATCH = 16
ROUNDS = 5
CORES = usable_cores()


def write_images(folder: Path, count: int) -> list[Path]:
    """Write `count` different JPEG files of 256 x 256: squares of the photos at random places and zooms."""
    generator = np.random.default_rng(0)
    photos = [Image.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.[jp][pn]g"))]
    paths = []
    for number in range(count):
        photo = photos[number % len(photos)]
        side = int(generator.integers(min(SIDE, *photo.size), min(photo.size) + 1))
        left, top = (int(generator.integers(0, extent - side + 1)) for extent in photo.size)
        square = photo.resize((SIDE, SIDE), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
        paths.append(folder / f"{number:05d}.jpg")
        square.save(paths[-1], quality=90)
    return paths


def read(path: Path) -> torch.Tensor:
    """Return pixels `1 c h w` in [-1, 1]."""
    return stack_pixels([np.asarray(Image.open(path).convert("RGB"))])


@torch.inference_mode()
def plain_loop(tokenizer: vistok.Tokenizer, paths: list[Path], out: Path) -> None:
    """What one writes first: open, encode in float32, save, one file after another."""
    torch.set_num_threads(CORES)
    out.mkdir()
    for path in paths:
        np.save(out / f"{path.stem}.npy", tokenizer.model.encode(read(path))[0].numpy().astype(np.uint16))


def end_to_end(tokenizer: vistok.Tokenizer, precision: str, paths: list[Path], out: Path) -> None:
    """What tokenize-images does after it has started: read, encode, write one shard."""
    job = job_of(tokenizer, precision, out, BATCH, CORES, in_processes=False)
    totals = tokenize_shards(
        plan_shards([str(path) for path in paths], shard_size=len(paths)).shards, job, ENGINES["local"]
    )
    assert totals.images == len(paths)


def rates(work: dict[str, Callable[[Path], None]], images: int) -> dict[str, float]:
    """Return the median images per second of each, measured in turns so that a slow moment of the machine hits all."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(ROUNDS):
        for name, run in work.items():
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                run(Path(folder) / "out")
                seconds[name].append(time.perf_counter() - started)
    return {name: images / statistics.median(values) for name, values in seconds.items()}


def benchmark(count: int) -> dict[str, object]:
    """Measure everything and return it as it goes into the JSON file."""
    tokenizer = vistok.load("photo-f8", "cpu")
    device = torch.device("cpu")
    ways = [fast_precision(device, compiled) for compiled in (False, True)]
    eager, compiled = (FastEncoder(tokenizer.model, device, way) for way in ways)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_images(Path(folder), count)
        decoded = torch.cat([read(path) for path in paths])

        def alone(encode: Encode) -> None:
            torch.set_num_threads(1)
            with ThreadPoolExecutor(CORES) as pool:
                list(pool.map(encode, decoded.split(BATCH)))

        alone(compiled)
        work: dict[str, Callable[[Path], None]] = {
            "plain float32 loop": lambda out: plain_loop(tokenizer, paths, out),
            "default": lambda out: end_to_end(tokenizer, EXACT_ARITHMETIC, paths, out),
            "fast": lambda out: end_to_end(tokenizer, ways[0], paths, out),
            "fast, model alone": lambda _: alone(eager),
            "fast, compiled": lambda out: end_to_end(tokenizer, ways[1], paths, out),
            "fast, compiled, model alone": lambda _: alone(compiled),
        }
        rate = rates(work, count)
        same = agreement(tokenizer.encode_pixels, eager, list(decoded.split(1)))
    return {
        "machine": {"processor": _processor(), "cores": CORES, "torch": torch.__version__},
        "images": count,
        "images_per_second": rate,
        "ratios": {
            "fast to plain float32 loop": rate["fast"] / rate["plain float32 loop"],
            "default to plain float32 loop": rate["default"] / rate["plain float32 loop"],
            "fast to its model alone": rate["fast"] / rate["fast, model alone"],
            "compiled to its model alone": rate["fast, compiled"] / rate["fast, compiled, model alone"],
        },
        "tokens as in float32": same,
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path("results/encode.json"))
    arguments = parser.parse_args()
    figures = benchmark(arguments.images)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
