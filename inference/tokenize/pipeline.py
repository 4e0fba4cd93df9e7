"""Images to token shards on this machine: one stream through all shards, so that no processor waits where one ends.

Threads read images ahead of the encoder, the encoder (or several) takes batches, and a thread writes the shards that are
whole, all in the order of the plan.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ...evaluation.token_counts import empty_counts
from ...images.prefetch import Room, ahead
from ..arithmetic import Encode
from ..inputs.reading import ReadImage, read_image
from ..inputs.samples import PlannedShard
from ..inputs.unreadable import UnreadableInputError
from ..token_shards.manifest import Manifest
from ..token_shards.sidecar import Sidecar, seal_shard
from ..token_shards.webdataset_format import TokenSample, write_token_tar
from .batching import Batch, Result, ShardWork, batches, read_with, shard_samples
from .done import content_digest, reusable_samples
from .encoding import encode_images
from .totals import Progress, Totals

WAITING_PIXELS = 1 << 25
"""Pixels (100 MB) of images that were read and wait for the encoder, from which on no other is begun."""


class StoppedOnError(RuntimeError):
    """Something failed and the user asked to stop at the first failure."""


class Workload(NamedTuple):
    """How the work is spread; no token depends on it."""

    batch_size: int
    readers: int
    """Threads that read images ahead."""
    encoders: int
    """Threads that encode a batch each."""


def tokenize_shards(
    shards: list[PlannedShard],
    folder: Path,
    manifest: Manifest,
    encode: Encode,
    workload: Workload,
    *,
    stop_on_error: bool,
    report: Callable[[Progress], None],
) -> Totals:
    """Tokenize shards and write each with its sidecar; `report` is told after every batch and every shard.

    A shard of which a file cannot be read, or whose input is damaged, is not written. Raises StoppedOnError, or OSError from
    the disk; what comes before the failure in the plan is written all the same.
    """
    totals = Totals(empty_counts(manifest.num_codebooks, manifest.vocab_size), manifest.vocab_size, len(shards))
    started = time.perf_counter()

    def encoded(batch: Batch) -> tuple[Batch, list[TokenSample]]:
        try:
            return batch, [] if batch.work.is_given_up else encode_images(batch.images, encode, manifest)
        except UnreadableInputError as error:
            batch.work.unread = str(error)
            return batch, []

    def whole(results: Iterable[tuple[Batch, list[TokenSample]]]) -> Iterator[ShardWork]:
        for batch, tokens in results:
            work = batch.work
            if stop_on_error:
                _stop_at(batch)
            totals.add_batch(len(tokens) + len(batch.stored), len(batch.failed))
            work.tokens += [*batch.stored, *tokens]
            work.reused += len(batch.stored)
            work.failed += batch.failed
            if batch.last and work.is_given_up:
                totals.add_given_up(work)
            elif batch.last:
                yield work
            report(totals.progress)

    report(totals.progress)
    read = read_with(partial(read_image, config=manifest.preprocessing, multiple=manifest.downsample))
    stored = partial(reusable_samples, folder, fingerprint=manifest.fingerprint)
    window = (workload.encoders + 1) * workload.batch_size + 2 * workload.readers
    samples = shard_samples(shards, stored, totals.add_listing)
    with ExitStack() as stack:
        writing = stack.enter_context(ThreadPoolExecutor(1))
        readers, encoding = (stack.enter_context(_pool(number)) for number in (workload.readers, workload.encoders))
        room = stack.enter_context(Room(WAITING_PIXELS))
        results = room.taken(ahead(readers, room.bounded(read, _pixels), enumerate(samples), window))
        grouped = batches(results, workload.batch_size)
        with_tokens = ahead(encoding, encoded, grouped, workload.encoders + 1)
        for work in ahead(writing, partial(_write, folder=folder, manifest=manifest), whole(with_tokens), 2):
            if work.is_given_up:
                totals.add_given_up(work)
            else:
                totals.add_shard(work)
            report(totals.progress)
    totals.seconds = time.perf_counter() - started
    return totals


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Make a pool whose work is dropped when an error, or Ctrl-C, ends the run."""
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


def _write(work: ShardWork, folder: Path, manifest: Manifest) -> ShardWork:
    """Write a shard, its rows in the order of the samples, or note why it cannot be written."""
    order = {(sample.key, sample.source): index for index, sample in enumerate(work.samples)}
    work.tokens.sort(key=lambda sample: order[sample.key, sample.facts["source"]])
    work.failed.sort(key=lambda failed: order[failed.row.key, failed.row.source])
    try:
        written = write_token_tar(folder / f"{work.shard.name}.tar", work.tokens)
    except UnreadableInputError as error:
        work.unread = str(error)
        return work
    if work.shard.inputs_now() != work.shard.inputs:
        written.aside.unlink()
        work.unread = f"{work.shard.name}: what goes in changed while it was read"
        return work
    assert work.listing is not None
    sidecar = Sidecar(
        shard=f"{work.shard.name}.tar",
        fingerprint=manifest.fingerprint,
        inputs=work.shard.inputs,
        content=content_digest(work.tokens, work.failed, written.kept),
        images=len(work.tokens),
        failures=[row for row, _ in work.failed],
        passed_over=dict(sorted(work.listing.passed_over.items())),
        sha256=written.sha256,
        size=written.size,
    )
    seal_shard(folder, sidecar, written)
    return work
