"""The samples of all shards as one stream, and its batches."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from .plan import PlannedShard, Sample
from .reading import ReadPicture
from .shards import Failure, TokenSample


@dataclass
class ShardWork:
    """A shard in the making."""

    shard: PlannedShard
    samples: list[Sample] = field(default_factory=list)
    damage: str = ""
    tokens: list[TokenSample] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


class Batch(NamedTuple):
    """Neighbours in a shard; the last one closes it."""

    work: ShardWork
    pictures: list[ReadPicture]
    """Of one size."""
    failures: list[Failure]
    last: bool


def shard_samples(shards: list[PlannedShard]) -> Iterator[tuple[ShardWork, Sample | None]]:
    """List the samples of all shards, each shard closed by None."""
    for shard in shards:
        work = ShardWork(shard)
        try:
            work.samples = shard.samples()
        except ValueError as error:
            work.damage = str(error)
        for sample in work.samples:
            yield work, sample
        yield work, None


def batches(read: Iterable[tuple[ShardWork, ReadPicture | Failure | None]], batch_size: int) -> Iterator[Batch]:
    """Group neighbours of the same shard and size, up to `batch_size`."""
    pictures: list[ReadPicture] = []
    failures: list[Failure] = []
    for work, result in read:
        other_size = isinstance(result, ReadPicture) and pictures and pictures[0].pixels.shape != result.pixels.shape
        if result is None or other_size or batch_size in (len(pictures), len(failures)):
            yield Batch(work, pictures, failures, last=result is None)
            pictures, failures = [], []
        if isinstance(result, ReadPicture):
            pictures.append(result)
        elif isinstance(result, Failure):
            failures.append(result)
