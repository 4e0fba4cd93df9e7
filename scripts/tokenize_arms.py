"""The ways to tokenize that scripts/benchmark_tokenize.py compares, in processes that have nothing else to do."""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

USUAL, EXACT, FAST = "usual", "exact", "fast"
PROCESSES = {
    USUAL: ("usual script", "usual script, one thread"),
    EXACT: ("exact, network alone", "exact, end to end", "reading alone"),
    FAST: ("fast, network alone", "fast, end to end"),
}
"""The processes, and the ways that each measures; torch's threads are a setting of a process."""
WARM_UP = 2
"""Images that a process takes first."""
USUAL_SECONDS = 12.0
"""After which a turn of the usual script ends: where other programs are busy, its threads wait for each other for seconds."""
Way: TypeAlias = Callable[[int], int]
"""Tokenizes some of the images, the first ones, and returns how many."""


class Work(NamedTuple):
    """What a process is to tokenize."""

    model: str
    """photo-f8, or llamagen for random weights in the layers of its VQ-16."""
    is_small: bool
    paths: list[Path]
    """Images; the usual script and float32 may take fewer of them."""
    kind: str
    """A key of PROCESSES."""
    precision: str
    """Of the fast process; empty for that of tokenize-images."""


class Cost(NamedTuple):
    """What a turn took."""

    images: int
    seconds: float
    core_seconds: float
    """That cores worked, which other programs disturb less."""


def serve(connection: Connection, work: Work) -> None:
    """Load the model, warm up, then measure each way whose name is received, until the other side is closed."""
    ways = _usual(work) if work.kind == USUAL else _vistok(work)
    for run in ways.values():
        run(WARM_UP)
    connection.send(list(ways))
    with suppress(EOFError):
        while True:
            connection.send(_cost(ways[connection.recv()], len(work.paths)))


def _cost(run: Way, count: int) -> Cost:
    cores, started = _core_seconds(), time.perf_counter()
    done = run(count)
    return Cost(done, time.perf_counter() - started, _core_seconds() - cores)


def _core_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _tokenizer(work: Work) -> Any:
    import vistok

    if work.model == "photo-f8":
        return vistok.load("photo-f8", "cpu")
    from gpu_sections.models import random_tokenizer

    return random_tokenizer(work.model, work.is_small).to("cpu")


def _side(work: Work, tokenizer: Any) -> int:
    return 64 if work.is_small else int(tokenizer.config.preprocessing.side)


def _usual(work: Work) -> dict[str, Way]:
    import torch
    from usual_script import extract_codes

    tokenizer = _tokenizer(work)
    model = tokenizer.model.to(memory_format=torch.contiguous_format)
    side, workers = _side(work, tokenizer), len(os.sched_getaffinity(0))

    def run(threads: int, count: int) -> int:
        torch.set_num_threads(threads)
        with tempfile.TemporaryDirectory() as folder:
            return extract_codes(model, work.paths[:count], side, Path(folder) / "codes", workers, USUAL_SECONDS)

    default, one = PROCESSES[USUAL]
    return {default: partial(run, torch.get_num_threads()), one: partial(run, 1)}


def _vistok(work: Work) -> dict[str, Way]:
    from bulk_parts import encode_from_memory, samples_of
    from vistok.inference.inputs.plan import plan_shards
    from vistok.inference.inputs.reading import read_image

    tokenizer = _tokenizer(work)
    tokenizer = tokenizer.with_preprocessing(
        tokenizer.config.preprocessing.model_copy(update={"size": _side(work, tokenizer)})
    )
    plan = plan_shards([str(path) for path in work.paths], 1000)
    job = partial(_job, tokenizer, work, plan)
    alone, config = job(Path("never written")), tokenizer.config.preprocessing
    samples = samples_of(work.paths)
    pixels = [read_image(sample, config, tokenizer.downsample).pixels for sample in samples]

    def end_to_end(count: int) -> int:
        from vistok.inference.tokenize.engines.table import ENGINES
        from vistok.inference.tokenize.results import tokenize_shards

        with tempfile.TemporaryDirectory() as folder:
            own = job(Path(folder) / "shards")
            vars(own)["encode"] = alone.encode  # which may have been compiled
            shards = plan_shards([str(path) for path in work.paths[:count]], 1000).shards
            return tokenize_shards(shards, own, ENGINES["local"]).images

    def network_alone(count: int) -> int:
        encode_from_memory(alone, pixels[:count])
        return count

    def reading_alone(count: int) -> int:
        with ThreadPoolExecutor(alone.readers) as pool:
            list(pool.map(lambda sample: read_image(sample, config, tokenizer.downsample), samples[:count]))
        return count

    return dict(zip(PROCESSES[work.kind], (network_alone, end_to_end, reading_alone), strict=False))


def _job(tokenizer: Any, work: Work, plan: Any, out: Path) -> Any:
    """Return the job that tokenize-images has for these images."""
    from vistok.inference.token_shards.formats import SHARD_FORMATS
    from vistok.inference.token_shards.manifest import new_manifest
    from vistok.inference.token_shards.store import LocalStore
    from vistok.inference.tokenize.job import Job, encoders_for
    from vistok.inference.tokenize.settings import choose_limit, choose_precision
    from vistok.tokenizer.system import usable_cores

    precision = choose_precision(work.kind == FAST, None, tokenizer, plan, None)
    if work.kind == FAST and work.precision:
        precision = work.precision
    return Job(
        out=LocalStore(out),
        manifest=new_manifest(tokenizer, work.model, precision, "wds", "none"),
        tokenizer=tokenizer,
        shard_format=SHARD_FORMATS["wds"],
        batch_size=choose_limit(None, tokenizer, precision),
        readers=usable_cores(),
        encoders=encoders_for("cpu", usable_cores()),
    )


def start(work: Work) -> Connection:
    """Start a process for some work, with the threads of torch at their defaults; return the connection to it."""
    import multiprocessing

    os.environ.pop("OMP_NUM_THREADS", None)
    # The command sets this itself before it imports anything, which a process of this kind cannot.
    one_heap = {} if work.kind == USUAL else {"MALLOC_ARENA_MAX": "1"}
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, work))
    os.environ.update(one_heap)
    process.start()
    for name in one_heap:
        del os.environ[name]
    theirs.close()
    assert sys.platform == "linux"  # cores are counted and set
    return ours
