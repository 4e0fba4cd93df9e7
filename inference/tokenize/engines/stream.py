"""Shards made in one process, with one stream through all of them, so that no stage waits: list, read, batch, encode, write."""

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import lru_cache, partial
from typing import NamedTuple

from ....images.prefetch import ahead
from ....tokenizer.errors import WorkFailedError
from ....tokenizer.shapes import Tokens
from ...inputs.readers import open_readers
from ...inputs.reading import ReadImage
from ...inputs.samples import ShardTask
from ...inputs.views import rows_of
from ...token_shards.token_samples import TokenSample, token_dtype
from ..batching import Batch, Item, Result, Row, batches, read_items, shard_samples
from ..job import COMMON_SIDE, Job, Report, ShardProgress, ShardResult
from ..limits import StageClock
from ..resume import reusable_samples
from ..shard_work import ShardWork, finish
from ..size_groups import SizeGroups


class EncodedBatch(NamedTuple):
    """What is left of a batch once it is encoded; its pixels are not."""

    tokens: list[tuple[ShardWork, TokenSample]]
    changed: list[ShardWork]
    ended: list[ShardWork]


WAITING_PIXELS = 1 << 25
"""Pixels (100 MB) of images that wait for the encoder, above which no other image is read."""


class ShardStream:
    """Makes shards in threads of this process, and yields their results in the order of the tasks."""

    def __init__(self, job: Job, report: Report):
        self._job = job
        self._report = report

    def run(self, tasks: Iterable[ShardTask]) -> Generator[ShardResult, None, None]:
        """Make shards; after WorkFailedError or OSError all shards before the failure are sealed."""
        job, clock = self._job, StageClock()
        config, views = job.manifest.preprocessing, job.manifest.views
        downsample, grid = job.manifest.downsample, lru_cache(job.tokenizer.grid)
        window = (job.encoders + 1) * -(-job.capacity(*2 * (config.side or COMMON_SIDE,)) // views.rows)
        groups = SizeGroups(config, downsample, partial(_images_of_full_batches, job), job.waiting, job.stop_on_error)
        is_across = not config.side and job.waiting > 0 and not job.stop_on_error
        cut = partial(rows_of, views=views, config=config, downsample=downsample)
        _ = job.encode  # made here, not by several threads at once
        with (
            ExitStack() as stack
        ):  # what is entered last ends first: all stages drop their work when an error ends the run
            writer = stack.enter_context(ThreadPoolExecutor(1))
            encoders = ThreadPoolExecutor(job.encoders)
            stack.callback(encoders.shutdown, cancel_futures=True)
            readers = stack.enter_context(
                open_readers(views.canvas(config), downsample, job.readers, job.reads_in_processes)
            )
            headers = ThreadPoolExecutor(job.readers)
            stack.callback(headers.shutdown, cancel_futures=True)
            samples = shard_samples(tasks, partial(reusable_samples, job=job), self._report_progress)
            samples = groups.in_order(samples, headers)
            images = readers.ahead(samples, partial(read_items, grid=grid), window, _pixels, WAITING_PIXELS, _held)
            images = stack.enter_context(closing(images))
            batched = batches(clock.timed("reading", images), job.capacity, cut, is_across)
            encoded = ahead(encoders, partial(_encoded, job=job), batched, job.encoders + 1)
            finished = ahead(writer, partial(finish, job=job), self._complete(clock.timed("encoding", encoded)), 2)
            for result in clock.timed("writing", finished):
                yield result._replace(waits=clock.lap())

    def _report_progress(self, work: ShardWork) -> None:
        failures = len(work.failed)
        done = len(work.tokens) // self._job.manifest.views.rows + failures
        self._report(ShardProgress(work.task.name, work.expected_samples, done, failures))

    def _complete(self, results: Iterable[EncodedBatch]) -> Iterator[ShardWork]:
        """Gather batches into shards, and yield each with its last batch."""
        for tokens, changed, ended in results:
            for work, sample in tokens:
                work.tokens.append(sample)
            for work in changed:
                if self._job.stop_on_error:
                    _stop_at_failure(work)
                self._report_progress(work)
            yield from ended


def make_shard(task: ShardTask, job: Job, report: Report = lambda _: None) -> ShardResult:
    """Make one shard from start to end in this process, for engines that spread tasks over several."""
    (result,) = ShardStream(job, report).run([task])
    return result


def _images_of_full_batches(job: Job, height: int, width: int) -> int:
    """Return how many images of a size have rows for batches that are all full."""
    capacity = job.capacity(height, width)
    return capacity // math.gcd(capacity, job.manifest.views.rows)


def _pixels(read: tuple[ShardWork, Result]) -> int:
    result = read[1]
    return result.pixels[..., 0].size if isinstance(result, ReadImage) else 0


def _held(item: Item) -> int:
    return item[1].held if item[1] else 0


def _stop_at_failure(work: ShardWork) -> None:
    if work.failed:
        row = work.failed[0].row
        raise WorkFailedError(f"{row.source}: {row.reason} (--on-error skip goes on without it).")
    if work.is_given_up:
        raise WorkFailedError(f"{work.damage or work.unread} (--on-error skip goes on with the other shards).")


def _encoded(batch: Batch, job: Job) -> EncodedBatch:
    tokens = encode_rows([row for row in batch.rows if not row.work.is_given_up], job)
    changed = {id(work): work for work in (*(row.work for row in batch.rows), *batch.failed, *batch.ended)}
    return EncodedBatch(tokens, list(changed.values()), batch.ended)


def encode_rows(rows: Sequence[Row], job: Job) -> list[tuple[ShardWork, TokenSample]]:
    """Return the tokens of rows of one size; where sizes differ, the shard of one that is too large becomes unread."""
    if not rows:
        return []
    manifest = job.manifest
    tokens: Tokens | None = None
    try:
        tokens = job.encode(job.collate([row.image.pixels for row in rows]))
    except (MemoryError, RuntimeError) as error:
        if manifest.preprocessing.side or not _out_of_memory(error):
            raise
    if tokens is None and len(rows) > 1:  # the error, which holds on to memory, is gone by now
        return [encoded for row in rows for encoded in encode_rows([row], job)]
    if tokens is None:
        work, large = rows[0].work, rows[0].image.metadata
        size = f"{large['width']} x {large['height']}"
        work.unread = work.unread or f"{large['source']}: the memory is too small for {size} pixels"
        return []
    grids = tokens.cpu().numpy().astype(token_dtype(manifest.vocab_size))
    return [
        (work, TokenSample(image.sample.key, grid, image.metadata, image.sample.companions))
        for (work, image), grid in zip(rows, grids, strict=True)
    ]


def _out_of_memory(error: Exception) -> bool:
    # torch has an exception class for the memory of a GPU only.
    message = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in message or "allocate memory" in message
