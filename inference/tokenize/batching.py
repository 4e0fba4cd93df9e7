"""The samples of all shards as one stream, and its batches."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ...images.tars.blocks import DamagedShard
from ...tokenizer.numerics.exact import batch_for
from ..inputs.input_files import UnreadableInputError, unreadable
from ..inputs.readers import Read
from ..inputs.reading import Grid, ReadImage, ReadResult, Unusable, with_grid
from ..inputs.samples import Sample, ShardTask
from ..token_shards.token_samples import TokenSample
from .shard_work import ShardWork


class Batch(NamedTuple):
    """Neighbouring images of a shard, of one size."""

    work: ShardWork
    images: list[ReadImage]
    is_last: bool
    """Whether it completes the shard."""


Item = tuple[ShardWork, Sample | None]
"""A sample of a shard; None closes the shard."""
Result = ReadResult | TokenSample | None


def shard_samples(
    tasks: Iterable[ShardTask],
    reusable: Callable[[ShardTask], dict[str, TokenSample]],
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


def read_items(items: list[Item], read: Read, grid: Grid) -> list[tuple[ShardWork, Result]]:
    """Read those items of the stream that need it; after one unreadable file the rest of its shard is skipped."""
    results = [_without_reading(*item) for item in items]
    needed = [sample for (_, sample), result in zip(items, results, strict=True) if sample and result is None]
    answers = iter(read(needed) if needed else [])
    for index, (_, sample) in enumerate(items):
        if sample and results[index] is None:
            answer = next(answers)
            results[index] = with_grid(answer, grid) if isinstance(answer, ReadImage) else answer
    return [(work, result) for (work, _), result in zip(items, results, strict=True)]


def _without_reading(work: ShardWork, sample: Sample | None) -> Result:
    """Return the result of an item whose image need not be read; None for others, and for the end of a shard."""
    if sample is None:
        return None
    if work.is_given_up:
        return UnreadableInputError(work.unread)
    if sample.key in work.stored and sample.entry:
        return work.stored[sample.key]._replace(companions=sample.companions)
    return None


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
