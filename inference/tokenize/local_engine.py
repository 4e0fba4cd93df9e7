"""The engine of this machine: threads of one process, with one stream through all shards.

Threads read images ahead of the encoder, one or several threads encode batches, and one writes the shards that are
complete, all in the order of the tasks. No core waits where a shard ends.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

from ...images.prefetch import Room, ahead
from ...images.preprocessing import stack_pixels
from ...tokenizer.shapes import Tokens
from ..arithmetic import Encode
from ..inputs.input_files import UnreadableInputError
from ..inputs.reading import ReadImage, read_image
from ..inputs.samples import ShardTask
from ..token_shards.manifest import Manifest
from ..token_shards.token_samples import TokenSample, token_dtype
from .batching import Batch, Result, batches, read_item, shard_samples
from .job import Job, Report, ShardProgress, ShardResult, StoppedOnError
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
        """Make shards; after StoppedOnError or OSError all shards before the failure are sealed."""
        job, encode = self._job, self._job.encode

        def encoded(batch: Batch) -> tuple[Batch, list[TokenSample]]:
            try:
                return batch, [] if batch.work.is_given_up else encode_samples(batch.images, encode, job.manifest)
            except UnreadableInputError as error:
                batch.work.unread = str(error)
                return batch, []

        preprocessing, side = job.manifest.preprocessing, job.manifest.downsample
        read = partial(read_image, config=preprocessing, multiple=side, grid=job.tokenizer.grid)
        samples = shard_samples(tasks, partial(reusable_samples, job=job), self._on_listed)
        window = (job.encoders + 1) * job.batch_size + 2 * job.readers
        with ExitStack() as stack:
            writer = stack.enter_context(ThreadPoolExecutor(1))
            readers, encoders = (stack.enter_context(_pool(threads)) for threads in (job.readers, job.encoders))
            room = stack.enter_context(Room(WAITING_PIXELS))
            bounded = room.bounded(partial(read_item, read=read), _pixels)
            images = room.taken(ahead(readers, bounded, enumerate(samples), window))
            tokens = ahead(encoders, encoded, batches(images, job.batch_size), job.encoders + 1)
            yield from ahead(writer, partial(finish, job=job), self._complete(tokens), 2)

    def _on_listed(self, work: ShardWork) -> None:
        self._report(ShardProgress(work.task.name, len(work.samples)))

    def _complete(self, results: Iterable[tuple[Batch, list[TokenSample]]]) -> Iterator[ShardWork]:
        """Gather batches into shards, and yield each with its last batch."""
        done = failures = 0
        for batch, tokens in results:
            work = batch.work
            if self._job.stop_on_error:
                _stop_at(batch)
            work.tokens += [*batch.stored, *tokens]
            work.reused += len(batch.stored)
            work.failed += batch.failed
            done += len(tokens) + len(batch.stored) + len(batch.failed)
            failures += len(batch.failed)
            self._report(ShardProgress(work.task.name, len(work.samples), done, failures))
            if batch.last:
                done = failures = 0
                yield work


def make_shard(task: ShardTask, job: Job) -> ShardResult:
    """Make one shard from start to end in this process, for engines that spread tasks over several."""
    (result,) = LocalEngine(job, lambda _: None).run([task])
    return result


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Make a pool that drops its work when an error, or Ctrl-C, ends the run."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _pixels(read: tuple[ShardWork, Result]) -> int:
    result = read[1]
    return result.pixels[..., 0].size if isinstance(result, ReadImage) else 0


def _stop_at(batch: Batch) -> None:
    work = batch.work
    if batch.failed:
        row = batch.failed[0].row
        raise StoppedOnError(f"{row.source}: {row.reason} (--on-error skip goes on without it).")
    if work.is_given_up:
        raise StoppedOnError(f"{work.damage or work.unread} (--on-error skip goes on with the other shards).")


def encode_samples(images: list[ReadImage], encode: Encode, manifest: Manifest) -> list[TokenSample]:
    """Return the tokens of images of one size, in their order.

    When the memory is too small, images of native size are tried one by one; UnreadableInputError names one that is too
    large by itself. With a fixed size no image is to blame, and the error passes.
    """
    if not images:
        return []
    tokens: Tokens | None = None
    try:
        tokens = encode(stack_pixels([image.pixels for image in images]))
    except (MemoryError, RuntimeError) as error:
        if manifest.preprocessing.size != "native" or not _out_of_memory(error):
            raise
    if tokens is None and len(images) > 1:  # the error, which holds on to memory, is gone by now
        return [sample for image in images for sample in encode_samples([image], encode, manifest)]
    if tokens is None:
        name, size = images[0].sample.source, f"{images[0].width} x {images[0].height}"
        raise UnreadableInputError(f"{name}: the memory is too small for {size} pixels")
    grids = tokens.cpu().numpy().astype(token_dtype(manifest.vocab_size))
    return [
        TokenSample(
            key=image.sample.key,
            tokens=grid,
            metadata={
                "source": image.sample.source,
                "width": image.width,
                "height": image.height,
                "sha256": image.sha256,
            },
            companions=image.sample.companions,
        )
        for image, grid in zip(images, grids, strict=True)
    ]


def _out_of_memory(error: Exception) -> bool:
    # torch has an exception class for the memory of a GPU only.
    message = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in message or "allocate memory" in message
