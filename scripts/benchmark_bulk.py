"""How fast tokenize-images is from JPEG files to shards, against its parts alone: decoding, and encoding from memory.

    python scripts/benchmark_bulk.py --out results/bulk.json [--device cuda --fast --batch-size 64]

All rates come from one run on the same files of 256 x 256, cut from tests/photos, in turns. An encoder that costs nothing
shows the ceiling of the path through readers, batches and the writer. Needs nothing outside the repository. Each measurement
is a function, for other scripts.
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from benchmark_encode import write_images

import vistok
from vistok.images.file_entry import file_entry
from vistok.inference.api import Tokenizer
from vistok.inference.arithmetic import EXACT_ARITHMETIC
from vistok.inference.fast import fast_precision
from vistok.inference.inputs.plan import plan_shards
from vistok.inference.inputs.readers import open_readers
from vistok.inference.inputs.reading import ReadImage, read_image
from vistok.inference.inputs.samples import Sample
from vistok.inference.token_shards.formats import SHARD_FORMATS
from vistok.inference.token_shards.manifest import new_manifest
from vistok.inference.tokenize.engines import ENGINES
from vistok.inference.tokenize.job import Job, encoders_for
from vistok.inference.tokenize.results import Totals, tokenize_shards
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.tokenizer.system import usable_cores

CONFIG = PreprocessingConfig(size=256)
SHARD_SIZE = 1000
ROUNDS = 3


def samples_of(paths: list[Path]) -> list[Sample]:
    """Return the samples of some files."""
    return [Sample(path.stem, path.name, file_entry(str(path), path.name)) for path in paths]


def decode(samples: list[Sample]) -> int:
    """Read and preprocess some images one after another, and keep none."""
    return sum(isinstance(read_image(sample, CONFIG, 8), ReadImage) for sample in samples)


def decode_in_threads(samples: list[Sample], threads: int) -> None:
    """Decode in threads of this process, which take the next image when they are free."""
    with ThreadPoolExecutor(threads) as pool:
        assert sum(pool.map(decode, ([sample] for sample in samples))) == len(samples)


def decode_in_processes(samples: list[Sample], pool: ProcessPoolExecutor, processes: int) -> None:
    """Decode in processes that were started before, each with an equal part, from which nothing comes back."""
    assert sum(pool.map(decode, (samples[start::processes] for start in range(processes)))) == len(samples)


def started_processes(processes: int) -> ProcessPoolExecutor:
    """Return processes that have imported what they need."""
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    list(pool.map(time.sleep, [0.5] * processes))
    list(pool.map(decode, [[]] * processes))
    return pool


def start_readers(processes: int, sample: Sample) -> float:
    """Return the seconds until readers in processes have all given an image."""
    started = time.perf_counter()
    with open_readers(CONFIG, 8, processes, in_processes=True) as pool:
        for future in [pool.submit([sample]) for _ in range(4 * processes)]:
            future.result()
        return time.perf_counter() - started


def job_of(tokenizer: Tokenizer, precision: str, out: Path, batch_size: int, readers: int, in_processes: bool) -> Job:
    """Return the job of tokenize-images for these options."""
    return Job(
        out=out,
        manifest=new_manifest(tokenizer, "photo-f8", precision, "wds", "none"),
        tokenizer=tokenizer,
        shard_format=SHARD_FORMATS["wds"],
        batch_size=batch_size,
        readers=readers,
        encoders=encoders_for(tokenizer.device),
        reads_in_processes=in_processes,
        stop_on_error=True,
    )


def encode_from_memory(job: Job, images: list[np.ndarray]) -> None:
    """Encode images of one size that lie in memory, in the batches and threads of a job."""
    batches = [images[start : start + job.batch_size] for start in range(0, len(images), job.batch_size)]
    with ThreadPoolExecutor(job.encoders) as pool:
        for _ in pool.map(lambda batch: job.encode(job.collate(batch)), batches):
            pass


def end_to_end(job: Job, paths: list[Path]) -> Totals:
    """Do what tokenize-images does once the model is loaded: start the readers, read, encode, write shards."""
    tasks = plan_shards([str(path) for path in paths], SHARD_SIZE).shards
    totals = tokenize_shards(tasks, job, ENGINES["local"])
    assert totals.images == len(paths)
    return totals


def without_cost(tokenizer: Tokenizer) -> Tokenizer:
    """Return a tokenizer whose encoder gives zeros at once."""
    stub = copy.copy(tokenizer)
    side = CONFIG.size // tokenizer.downsample

    def zeros(images: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(images), 1, side, side, dtype=torch.int64)

    stub.encode_pixels = zeros
    stub.start_encoding = lambda images: lambda: zeros(images)
    return stub


def rates(work: dict[str, Callable[[], object]], images: int, rounds: int = ROUNDS) -> dict[str, float]:
    """Return the median images per second of each, measured in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return {name: images / statistics.median(values) for name, values in seconds.items()}


def benchmark(count: int, device: str, fast: bool, batch_size: int, readers: int) -> dict[str, object]:
    """Measure everything and return it as it goes into the JSON file."""
    tokenizer = vistok.load("photo-f8", device)
    precision = fast_precision(tokenizer.device, True, batch_size) if fast else EXACT_ARITHMETIC
    with tempfile.TemporaryDirectory() as folder, started_processes(readers) as pool:
        (Path(folder) / "in").mkdir()
        paths = write_images(Path(folder) / "in", count)
        samples = samples_of(paths)
        images = [read_image(sample, CONFIG, 8).pixels for sample in samples]
        made = 0

        def run(model: Tokenizer, arithmetic: str, in_processes: bool) -> Totals:
            nonlocal made
            made += 1
            job = job_of(model, arithmetic, Path(folder) / str(made), batch_size, readers, in_processes)
            vars(job)["encode"] = encode if arithmetic == precision and model is tokenizer else job.encode
            return end_to_end(job, paths)

        memory = job_of(tokenizer, precision, Path(folder), batch_size, readers, False)
        encode = memory.encode
        encode_from_memory(memory, images[: 2 * batch_size])  # compiles
        stub = without_cost(tokenizer)
        rate = rates(
            {
                "decode in threads": partial(decode_in_threads, samples, readers),
                "decode in processes": partial(decode_in_processes, samples, pool, readers),
                "encode from memory": partial(encode_from_memory, memory, images),
                "tokenize, threads read": partial(run, tokenizer, precision, False),
                "tokenize, processes read": partial(run, tokenizer, precision, True),
                "tokenize without an encoder, threads read": partial(run, stub, EXACT_ARITHMETIC, False),
                "tokenize without an encoder, processes read": partial(run, stub, EXACT_ARITHMETIC, True),
            },
            count,
        )
        before = time.process_time()
        waits = run(stub, EXACT_ARITHMETIC, True).waits
        own_seconds = (time.process_time() - before) / count
        parts = min(rate["decode in processes"], rate["encode from memory"])
        return {
            "machine": {"device": _name(tokenizer.device), "cores": usable_cores(), "torch": torch.__version__},
            "settings": {"images": count, "precision": precision, "batch_size": batch_size, "readers": readers},
            "images_per_second": rate,
            "ratios": {
                "threads to the slower part": rate["tokenize, threads read"] / parts,
                "processes to the slower part": rate["tokenize, processes read"] / parts,
                "processes to decoding, without an encoder": rate["tokenize without an encoder, processes read"]
                / rate["decode in processes"],
            },
            "processor_microseconds_per_image_beside_the_readers": 1e6 * own_seconds,
            "waited_without_an_encoder": waits.fractions,
            "seconds_to_start_readers": start_readers(readers, samples[0]),
        }


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--readers", type=int, default=usable_cores())
    parser.add_argument("--out", type=Path, default=Path("results/bulk.json"))
    given = parser.parse_args()
    figures = benchmark(given.images, given.device, given.fast, given.batch_size, given.readers)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
