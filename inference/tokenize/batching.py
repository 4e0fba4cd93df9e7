"""The samples of all shards as one stream, and its batches."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ...images.tars.blocks import DamagedShard
from ...tokenizer.numerics.exact import batch_for
from ..inputs.input_files import UnreadableInputError, unreadable
from ..inputs.reading import ReadImage, Unusable
from ..inputs.samples import Sample, ShardTask
from ..token_shards.token_samples import StoredSample, TokenSample
from .shard_work import ShardWork


class Batch(NamedTuple):
    """Neighbouring images of a shard, of one size."""

    work: ShardWork
    images: list[ReadImage]
    is_last: bool
    """Whether it completes the shard."""


Item = tuple[ShardWork, Sample | None]
"""A sample of a shard; None closes the shard."""
Result = ReadImage | Unusable | TokenSample | UnreadableInputError | None


def shard_samples(
    tasks: Iterable[ShardTask],
    reusable: Callable[[ShardTask], dict[str, StoredSample]],
    on_listed: Callable[[ShardWork], None],
) -> Iterator[Item]:
    """List the samples of all shards; `reusable` gives those that an earlier call made, by key."""
    for task in tasks:
        work = ShardWork(task)
        try:
            work.listing = task.source.list_samples()
            work.stored = reusable(task)
        except OSError as error:
            work.unread = str(unreadable(task.name, error))
        except DamagedShard as error:
            work.damage = str(error)
        on_listed(work)
        for sample in work.listing.samples:
            yield work, sample
        yield work, None


def read_item(item: Item, read: Callable[[Sample], ReadImage | Unusable]) -> tuple[ShardWork, Result]:
    """Apply `read` to an item of the stream; after one unreadable file the rest of its shard is skipped."""
    work, sample = item
    if sample is None:
        return work, None
    if work.is_given_up:
        return work, UnreadableInputError(work.unread)
    if sample.key in work.stored and sample.entry:
        stored = work.stored[sample.key]
        return work, TokenSample(sample.key, stored.tokens(), stored.metadata(), sample.companions)
    try:
        return work, read(sample)
    except UnreadableInputError as error:
        return work, error


def batches(read: Iterable[tuple[ShardWork, Result]], batch_size: int) -> Iterator[Batch]:
    """Group neighbours of one shard and size, fewer where they are large; all other results go into the work of their shard."""
    images: list[ReadImage] = []
    for work, result in read:
        if result is None or _is_full(images, result, batch_size):
            yield Batch(work, images, is_last=result is None)
            images = []
        if isinstance(result, ReadImage):
            images.append(result)
        elif isinstance(result, Unusable):
            work.failed.append(result)
            yield Batch(work, [], is_last=False)  # reports the failure at once
        elif isinstance(result, TokenSample):
            work.tokens.append(result)
            work.reused += 1
        elif result is not None:
            work.unread = work.unread or str(result)


def _is_full(images: list[ReadImage], result: Result, batch_size: int) -> bool:
    if not images:
        return False
    shape = images[0].pixels.shape
    is_other = isinstance(result, ReadImage) and shape != result.pixels.shape
    return is_other or len(images) == batch_for(batch_size, *shape[:2])
