"""The engine of this machine: threads read, encode and write, with one stream through all shards, so that no core waits."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial

from ...images.prefetch import ahead, ahead_within
from ...images.preprocessing import stack_pixels
from ...tokenizer.errors import WorkFailedError
from ...tokenizer.shapes import Tokens
from ..arithmetic import Encode
from ..inputs.input_files import UnreadableInputError
from ..inputs.reading import ReadImage, read_image
from ..inputs.samples import ShardTask
from ..token_shards.manifest import Manifest
from ..token_shards.token_samples import TokenSample, token_dtype
from .batching import Batch, Result, batches, read_item, shard_samples
from .job import Job, Report, ShardProgress, ShardResult
from .resume import reusable_samples
from .shard_work import ShardWork, finish

WAITING_PIXELS = 1 << 25
"""Pixels (100 MB) of images that wait for the encoder, above which no other image is read."""


class LocalEngine:
    """Makes shards in threads of this process, and yields their results in the order of the tasks."""

    def __init__(self, job: Job, report: Report):
        self._job = job
        self._report = report

    def run(self, tasks: Iterable[ShardTask]) -> Iterator[ShardResult]:
        """Make shards; after WorkFailedError or OSError all shards before the failure are sealed."""
        job, encode = self._job, self._job.encode

        def encoded(batch: Batch) -> tuple[Batch, list[TokenSample]]:
            try:
                return batch, [] if batch.work.is_given_up else encode_samples(batch.images, encode, job.manifest)
            except UnreadableInputError as error:
                batch.work.unread = str(error)
                return batch, []

        preprocessing, side = job.manifest.preprocessing, job.manifest.downsample
        read = partial(read_image, config=preprocessing, multiple=side, grid=job.tokenizer.grid)
        samples = shard_samples(tasks, partial(reusable_samples, job=job), self._report_progress)
        window = (job.encoders + 1) * job.batch_size + 2 * job.readers
        with ExitStack() as stack:
            writer = stack.enter_context(ThreadPoolExecutor(1))
            readers, encoders = ThreadPoolExecutor(job.readers), ThreadPoolExecutor(job.encoders)
            for pool in (readers, encoders):  # both drop their work when an error, or Ctrl-C, ends the run
                stack.callback(pool.shutdown, cancel_futures=True)
            reading = ahead_within(readers, partial(read_item, read=read), samples, window, _pixels, WAITING_PIXELS)
            images = stack.enter_context(closing(reading))
            tokens = ahead(encoders, encoded, batches(images, job.batch_size), job.encoders + 1)
            yield from ahead(writer, partial(finish, job=job), self._complete(tokens), 2)

    def _report_progress(self, work: ShardWork) -> None:
        done, failures = len(work.tokens) + len(work.failed), len(work.failed)
        self._report(ShardProgress(work.task.name, len(work.listing.samples), done, failures))

    def _complete(self, results: Iterable[tuple[Batch, list[TokenSample]]]) -> Iterator[ShardWork]:
        """Gather batches into shards, and yield each with its last batch."""
        for batch, tokens in results:
            if self._job.stop_on_error:
                _stop_at_failure(batch.work)
            batch.work.tokens += tokens
            self._report_progress(batch.work)
            if batch.is_last:
                yield batch.work


def make_shard(task: ShardTask, job: Job) -> ShardResult:
    """Make one shard from start to end in this process, for engines that spread tasks over several."""
    (result,) = LocalEngine(job, lambda _: None).run([task])
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


def encode_samples(images: list[ReadImage], encode: Encode, manifest: Manifest) -> list[TokenSample]:
    """Return the tokens of images of one size; raise UnreadableInputError for one that is too large, where sizes differ."""
    if not images:
        return []
    tokens: Tokens | None = None
    try:
        tokens = encode(stack_pixels([image.pixels for image in images]))
    except (MemoryError, RuntimeError) as error:
        if manifest.preprocessing.side or not _out_of_memory(error):
            raise
    if tokens is None and len(images) > 1:  # the error, which holds on to memory, is gone by now
        return [sample for image in images for sample in encode_samples([image], encode, manifest)]
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
