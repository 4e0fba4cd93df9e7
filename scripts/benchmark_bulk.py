"""How fast tokenize-images is from JPEG files to shards, against its parts alone: decoding, and encoding from memory.

    python scripts/benchmark_bulk.py --out results/bulk.json [--device cuda --fast --images 8000 --encoded 8000]

All rates come from one run on the same files of 256 x 256, cut from tests/photos, in turns. An encoder that costs nothing
shows the ceiling of the path through readers, batches and the writer. A call includes the start of its readers, which is
given besides. Needs nothing outside the repository. Each measurement is a function, for other scripts.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

import vistok
from benchmark_encode import write_images
from bulk_parts import (
    CONFIG,
    decode_in_processes,
    decode_in_threads,
    encode_from_memory,
    end_to_end,
    enlarge,
    job_of,
    samples_of,
    start_readers,
    started_processes,
    without_cost,
)
from vistok.inference.api import Tokenizer
from vistok.inference.arithmetic import EXACT_ARITHMETIC
from vistok.inference.batch_probe import probed_batch
from vistok.inference.fast import fast_precision
from vistok.inference.inputs.reading import read_image
from vistok.inference.tokenize.job import Job
from vistok.inference.tokenize.results import Totals
from vistok.inference.tokenize.settings import choose_limit, given_limit
from vistok.tokenizer.system import usable_cores

ROUNDS = 3
ENCODED = ("encode from memory", "tokenize, threads read", "tokenize, processes read")
"""What the encoder takes part in."""
WITHOUT = "tokenize without an encoder, processes read"


def median_seconds(
    work: dict[str, Callable[[], object]], rounds: int = ROUNDS, report: Callable[[str, float], None] = lambda *_: None
) -> dict[str, float]:
    """Return the median seconds of each, measured in turns; `report` gets name and seconds of each turn as it ends."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
            report(name, seconds[name][-1])
    return {name: statistics.median(values) for name, values in seconds.items()}


class Runs:
    """Runs of tokenize-images on the same files, each into a folder of its own."""

    def __init__(self, folder: Path, batch_size: int, readers: int):
        self._folder = folder
        self._options = batch_size, readers
        self._made = 0

    def job(self, tokenizer: Tokenizer, precision: str, in_processes: bool = False) -> Job:
        """Return a job whose folder is new."""
        self._made += 1
        return job_of(tokenizer, precision, self._folder / str(self._made), *self._options, in_processes)

    def run(self, like: Job, in_processes: bool, paths: list[Path]) -> Totals:
        """Run a job like another one, with its encoder, which may have been compiled."""
        job = self.job(like.tokenizer, like.manifest.precision, in_processes)
        vars(job)["encode"] = like.encode
        return end_to_end(job, paths)


def benchmark(
    images: int,
    encoded: int,
    side: int,
    device: str,
    fast: bool,
    batch_size: int | None,
    readers: int,
    rounds: int,
    report: Callable[[dict[str, object]], None],
) -> dict[str, object]:
    """Measure everything and return it as it goes into the JSON file; `encoded` of the images go through the encoder.

    `report` gets the rates of the last turn of each measurement until all are done.
    """
    tokenizer = vistok.load("photo-f8", device)
    precision, size = settings(tokenizer, fast, batch_size)
    with tempfile.TemporaryDirectory() as name, started_processes(readers) as pool:
        folder = Path(name)
        (folder / "in").mkdir()
        paths = write_images(folder / "in", images)
        if side != CONFIG.size:
            enlarge(paths, side)
        samples = samples_of(paths)
        runs = Runs(folder, size, readers)
        job, stub = runs.job(tokenizer, precision), runs.job(without_cost(tokenizer), EXACT_ARITHMETIC)
        decoded = [read_image(sample, CONFIG, 8).pixels for sample in samples[:encoded]]
        job.encode(job.collate(decoded[:1]))  # compiles, once: several threads would each compile it
        encode_from_memory(job, decoded[: 2 * size])
        begins = start_readers(readers, samples[0])
        so_far: dict[str, float] = {}

        def note(name: str, seconds: float) -> None:
            so_far[name] = (encoded if name in ENCODED else images) / seconds
            report({"images_per_second": so_far, "seconds_to_start_readers": begins})

        seconds = median_seconds(
            {
                "decode in processes": partial(decode_in_processes, samples, pool, readers),
                "encode from memory": partial(encode_from_memory, job, decoded),
                "tokenize, processes read": partial(runs.run, job, True, paths[:encoded]),
                WITHOUT: partial(runs.run, stub, True, paths),
                "decode in threads": partial(decode_in_threads, samples, readers),
                "tokenize, threads read": partial(runs.run, job, False, paths[:encoded]),
                "tokenize without an encoder, threads read": partial(runs.run, stub, False, paths),
            },
            rounds,
            note,
        )
        counts = {name: encoded if name in ENCODED else images for name in seconds}
        rate = {name: counts[name] / value for name, value in seconds.items()}
        running = {name: counts[name] / (seconds[name] - begins) for name in seconds if name.endswith("processes read")}
        before = time.process_time()
        runs.run(stub, True, paths)
        own = (time.process_time() - before) / images
        waited = {
            name: runs.run(like, True, paths[:encoded]).waits.fractions
            for name, like in (("encoder", job), ("none", stub))
        }
        slower = min(rate["decode in processes"], rate["encode from memory"])
    return {
        "machine": {"device": _name(tokenizer.device), "cores": usable_cores(), "torch": torch.__version__},
        "settings": {
            "images": images,
            "side": side,
            "encoded": encoded,
            "precision": precision,
            "batch_size": size,
            "readers": readers,
        },
        "images_per_second": rate,
        "images_per_second_once_readers_have_started": running,
        "ratios": {
            "threads to the slower part": rate["tokenize, threads read"] / slower,
            "processes to the slower part": rate["tokenize, processes read"] / slower,
            "processes to the slower part, once started": running["tokenize, processes read"] / slower,
            "without an encoder, processes to decoding, once started": running[WITHOUT] / rate["decode in processes"],
        },
        "seconds_to_start_readers": begins,
        "processor_microseconds_per_image_beside_the_readers": 1e6 * own,
        "waited_with_encoder": waited["encoder"],
        "waited_without_encoder": waited["none"],
    }


def settings(tokenizer: Tokenizer, fast: bool, batch_size: int | None) -> tuple[str, int]:
    """Return the precision, compiled if it is fast, and the batch size, as tokenize-images would choose them."""
    on_gpu = tokenizer.device.type == "cuda"
    if fast:
        probed = probed_batch(tokenizer.model, tokenizer.device, CONFIG.size) if on_gpu and not batch_size else None
        precision = fast_precision(tokenizer.device, True, batch_size or probed)
    else:
        precision = EXACT_ARITHMETIC
    return precision, choose_limit(given_limit(batch_size, None, tokenizer), tokenizer, precision).number


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument(
        "--encoded", type=int, help="how many of them the encoder takes (default: 100 on a CPU, else all)"
    )
    parser.add_argument("--side", type=int, default=CONFIG.size, help="of the JPEG files")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--readers", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=Path("results/bulk.json"))
    given = parser.parse_args()
    encoded = min(given.images, given.encoded or (100 if given.device == "cpu" else given.images))
    given.out.parent.mkdir(parents=True, exist_ok=True)

    def write(figures: dict[str, object]) -> None:
        """Write what is known so far."""
        given.out.write_text(json.dumps(figures, indent=2) + "\n")

    settings_given = given.side, given.device, given.fast, given.batch_size, given.readers, given.rounds
    write(benchmark(given.images, encoded, *settings_given, write))
    print(given.out.read_text(), end="")
