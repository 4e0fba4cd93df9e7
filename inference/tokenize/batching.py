"""The samples of all shards as one stream, and its batches."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeAlias

from ...images.tars.blocks import DamagedShard
from ..inputs.input_files import UnreadableInputError, unreadable
from ..inputs.readers import Read
from ..inputs.reading import Grid, ReadImage, ReadResult, Unusable, with_grid
from ..inputs.samples import Sample, ShardTask
from ..token_shards.token_samples import TokenSample
from .shard_work import ShardWork


class Row(NamedTuple):
    """An image, or a view of one, and the shard that its tokens go into."""

    work: ShardWork
    image: ReadImage


class Batch(NamedTuple):
    """Rows of one size, and what became known on the way."""

    rows: list[Row]
    ended: list[ShardWork]
    """Shards that it completes."""
    failed: list[ShardWork] = []
    """Shards that have another failure."""


Item: TypeAlias = tuple[ShardWork, Sample | None]
"""A sample of a shard; None closes the shard."""
Reused: TypeAlias = list[TokenSample]
"""The rows of an image that an earlier call made."""
Result: TypeAlias = ReadResult | Reused | None
Capacity: TypeAlias = Callable[[int, int], int]
"""Returns how many images of `height x width` pixels go to the encoder together."""


def shard_samples(
    tasks: Iterable[ShardTask],
    reusable: Callable[[ShardTask], dict[str, list[TokenSample]]],
    on_begun: Callable[[ShardWork], None],
) -> Iterator[Item]:
    """List the samples of all shards, each shard while its first images are encoded.

    `reusable` gives the rows that an earlier call made, by the keys of their images; its OSError ends the stream.
    """
    for task in tasks:
        work = ShardWork(task)
        try:
            work.stored = reusable(task)
        except UnreadableInputError as error:
            work.unread = str(error)
        except DamagedShard as error:
            work.damage = str(error)
        else:
            yield from _samples(work, on_begun)
        yield work, None


def _samples(work: ShardWork, on_begun: Callable[[ShardWork], None]) -> Iterator[Item]:
    try:
        work.listing = work.task.source.list_samples()
        on_begun(work)
        for sample in work.listed():
            yield work, sample
            if work.is_given_up:
                break
    except OSError as error:
        work.unread = str(unreadable(work.task.name, error))
    except DamagedShard as error:
        work.damage = str(error)


def needs_reading(work: ShardWork, sample: Sample | None) -> bool:
    """Return whether an item of the stream is an image whose pixels are needed."""
    return not (sample is None or work.is_given_up or _is_stored(work, sample))


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
    if _is_stored(work, sample):
        return [row._replace(companions=sample.companions) for row in work.stored[sample.key]]
    return None


def _is_stored(work: ShardWork, sample: Sample) -> bool:
    return sample.key in work.stored and sample.entry is not None


def batches(
    read: Iterable[tuple[ShardWork, Result]],
    capacity: Capacity,
    rows_of: Callable[[ReadImage], list[ReadImage]],
    across_shards: bool = False,
) -> Iterator[Batch]:
    """Group neighbours of one size, of one shard unless `across_shards`; all other results go into the work of their shard."""
    rows: list[Row] = []
    ended: list[ShardWork] = []
    for work, result in read:
        if isinstance(result, ReadImage):
            for image in rows_of(result):
                if _is_full(rows, image, capacity):
                    yield Batch(rows, ended)
                    rows, ended = [], []
                rows.append(Row(work, image))
        elif result is not None:
            yield from _noted(work, result)
        elif not any(row.work is work for row in rows):
            yield Batch([], [work])
        elif across_shards:
            ended.append(work)
        else:
            yield Batch(rows, [work])
            rows = []
    if rows:
        yield Batch(rows, ended)


def _is_full(rows: list[Row], image: ReadImage, capacity: Capacity) -> bool:
    if not rows:
        return False
    shape = rows[0].image.pixels.shape
    return shape != image.pixels.shape or len(rows) >= capacity(*shape[:2])


def _noted(work: ShardWork, result: Unusable | UnreadableInputError | Reused) -> Iterator[Batch]:
    """Put a result into the work of its shard; a failure is reported at once."""
    if isinstance(result, Unusable):
        work.failed.append(result)
        yield Batch([], [], [work])
    elif isinstance(result, list):
        work.tokens += result
        work.reused += 1
    else:
        work.unread = work.unread or str(result)
