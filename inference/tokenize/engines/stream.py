"""Shards made in one process, with one stream through all of them, so that no stage waits: list, read, batch, encode, write."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import lru_cache, partial
from typing import NamedTuple

from ....images.prefetch import ahead
from ....tokenizer.errors import WorkFailedError
from ....tokenizer.shapes import Tokens
from ...inputs.input_files import UnreadableInputError
from ...inputs.readers import open_readers
from ...inputs.reading import ReadImage
from ...inputs.samples import ShardTask
from ...token_shards.token_samples import TokenSample, token_dtype
from ..batching import Batch, Result, batches, read_items, shard_samples
from ..job import Job, Report, ShardProgress, ShardResult
from ..limits import StageClock
from ..resume import reusable_samples
from ..shard_work import ShardWork, finish


class EncodedBatch(NamedTuple):
    """What is left of a batch once it is encoded; its pixels are not."""

    work: ShardWork
    tokens: list[TokenSample]
    is_last: bool


WAITING_PIXELS = 1 << 25
"""Pixels (100 MB) of images that wait for the encoder, above which no other image is read."""


class ShardStream:
    """Makes shards in threads of this process, and yields their results in the order of the tasks."""

    def __init__(self, job: Job, report: Report):
        self._job = job
        self._report = report

    def run(self, tasks: Iterable[ShardTask]) -> Iterator[ShardResult]:
        """Make shards; after WorkFailedError or OSError all shards before the failure are sealed."""
        job, clock = self._job, StageClock()
        config, grid = job.manifest.preprocessing, lru_cache(job.tokenizer.grid)
        window = (job.encoders + 1) * job.batch_size
        _ = job.encode  # made here, not by several threads at once
        with (
            ExitStack() as stack
        ):  # what is entered last ends first: all stages drop their work when an error ends the run
            writer = stack.enter_context(ThreadPoolExecutor(1))
            encoders = ThreadPoolExecutor(job.encoders)
            stack.callback(encoders.shutdown, cancel_futures=True)
            readers = stack.enter_context(
                open_readers(config, job.manifest.downsample, job.readers, job.reads_in_processes)
            )
            samples = shard_samples(tasks, partial(reusable_samples, job=job), self._report_progress)
            images = readers.ahead(samples, partial(read_items, grid=grid), window, _pixels, WAITING_PIXELS)
            images = stack.enter_context(closing(images))
            batched = batches(clock.timed("reading", images), job.batch_size)
            encoded = ahead(encoders, partial(_encoded, job=job), batched, job.encoders + 1)
            finished = ahead(writer, partial(finish, job=job), self._complete(clock.timed("encoding", encoded)), 2)
            for result in clock.timed("writing", finished):
                yield result._replace(waits=clock.lap())

    def _report_progress(self, work: ShardWork) -> None:
        done, failures = len(work.tokens) + len(work.failed), len(work.failed)
        self._report(ShardProgress(work.task.name, len(work.listing.samples), done, failures))

    def _complete(self, results: Iterable[EncodedBatch]) -> Iterator[ShardWork]:
        """Gather batches into shards, and yield each with its last batch."""
        for work, tokens, is_last in results:
            if self._job.stop_on_error:
                _stop_at_failure(work)
            work.tokens += tokens
            self._report_progress(work)
            if is_last:
                yield work


def make_shard(task: ShardTask, job: Job, report: Report = lambda _: None) -> ShardResult:
    """Make one shard from start to end in this process, for engines that spread tasks over several."""
    (result,) = ShardStream(job, report).run([task])
    return result


def _pixels(read: tuple[ShardWork, Result]) -> int:
    result = read[1]
    return result.pixels[..., 0].size if isinstance(result, ReadImage) else 0


def _stop_at_failure(work: ShardWork) -> None:
    if work.failed:
        row = work.failed[0].row
        raise WorkFailedError(f"{row.source}: {row.reason} (--on-error skip goes on without it).")
    if work.is_given_up:
        raise WorkFailedError(f"{work.damage or work.unread} (--on-error skip goes on with the other shards).")


def _encoded(batch: Batch, job: Job) -> EncodedBatch:
    work = batch.work
    try:
        tokens = encode_samples(batch.images, job) if batch.images and not work.is_given_up else []
    except UnreadableInputError as error:
        work.unread, tokens = str(error), []
    return EncodedBatch(work, tokens, batch.is_last)


def encode_samples(images: list[ReadImage], job: Job) -> list[TokenSample]:
    """Return the tokens of images of one size; raise UnreadableInputError for one that is too large, where sizes differ."""
    manifest = job.manifest
    tokens: Tokens | None = None
    try:
        tokens = job.encode(job.collate([image.pixels for image in images]))
    except (MemoryError, RuntimeError) as error:
        if manifest.preprocessing.side or not _out_of_memory(error):
            raise
    if tokens is None and len(images) > 1:  # the error, which holds on to memory, is gone by now
        return [sample for image in images for sample in encode_samples([image], job)]
    if tokens is None:
        large = images[0].metadata
        size = f"{large['width']} x {large['height']}"
        raise UnreadableInputError(f"{large['source']}: the memory is too small for {size} pixels")
    grids = tokens.cpu().numpy().astype(token_dtype(manifest.vocab_size))
    return [
        TokenSample(image.sample.key, grid, image.metadata, image.sample.companions)
        for image, grid in zip(images, grids, strict=True)
    ]


def _out_of_memory(error: Exception) -> bool:
    # torch has an exception class for the memory of a GPU only.
    message = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in message or "allocate memory" in message
