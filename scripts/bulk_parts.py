"""The parts of tokenize-images that scripts/benchmark_bulk.py measures, each a function."""

import copy
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vistok.images.file_entry import file_entry
from vistok.inference.api import Tokenizer
from vistok.inference.inputs.plan import plan_shards
from vistok.inference.inputs.readers import open_readers
from vistok.inference.inputs.reading import ReadImage, read_image
from vistok.inference.inputs.samples import Sample
from vistok.inference.token_shards.formats import SHARD_FORMATS
from vistok.inference.token_shards.manifest import new_manifest
from vistok.inference.token_shards.store import LocalStore
from vistok.inference.tokenize.engines.table import ENGINES
from vistok.inference.tokenize.job import Job, encoders_for
from vistok.inference.tokenize.results import Totals, tokenize_shards
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.tokenizer.system import usable_cores

CONFIG = PreprocessingConfig(size=256)
SHARD_SIZE = 1000


def enlarge(paths: list[Path], side: int) -> None:
    """Make images of another side of the files, so that they take longer to decode."""
    for path in paths:
        with Image.open(path) as image:
            enlarged = image.resize((side, side), Image.Resampling.BICUBIC)
        enlarged.save(path, quality=90)


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


def new_processes(processes: int) -> ProcessPoolExecutor:
    """Return a pool of processes for `decode_in_processes`."""
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"))


def decode_one_in_each(pool: ProcessPoolExecutor, processes: int, sample: Sample) -> None:
    """Start the processes, and have each import what a first image needs."""
    list(pool.map(_decode_and_wait, [sample] * processes))


def _decode_and_wait(sample: Sample) -> None:
    decode([sample])
    time.sleep(0.5)  # in which every other process takes its own


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
        out=LocalStore(out),
        manifest=new_manifest(tokenizer, "photo-f8", precision, "wds", "none"),
        tokenizer=tokenizer,
        shard_format=SHARD_FORMATS["wds"],
        batch_size=batch_size,
        readers=readers,
        encoders=encoders_for(tokenizer.device.type, usable_cores()),
        reads_in_processes=in_processes,
        stop_on_error=True,
    )


def encode_from_memory(job: Job, images: list[np.ndarray]) -> None:
    """Encode images of one size that lie in memory, in the batches and threads of a job."""
    size = job.capacity(*images[0].shape[:2])
    encode = job.encode  # made here, as by the command: not by several threads
    batches = [images[start : start + size] for start in range(0, len(images), size)]
    with ThreadPoolExecutor(job.encoders) as pool:
        for _ in pool.map(lambda batch: encode(job.collate(batch)), batches):
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
