"""The samples of all shards as one stream, and its batches."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ...tokenizer.numerics.exact import batch_for
from ..inputs.reading import ReadImage, Unusable
from ..inputs.samples import Listing, PlannedShard, Sample
from ..inputs.unreadable import UnreadableInputError, unreadable
from ..token_shards.webdataset_format import StoredSample, TokenSample


@dataclass
class ShardWork:
    """A shard in the making."""

    shard: PlannedShard
    listing: Listing | None = None
    damage: str = ""
    """Why its input is damaged, in a sentence."""
    unread: str = ""
    """Which of its files cannot be read now, and why."""
    stored: dict[str, StoredSample] = field(default_factory=dict)
    """Samples by key that an earlier call has made of the same inputs."""
    reused: int = 0
    """How many of these are taken."""
    tokens: list[TokenSample] = field(default_factory=list)
    failed: list[Unusable] = field(default_factory=list)

    @property
    def samples(self) -> list[Sample]:
        """What goes in, as far as it is known."""
        return self.listing.samples if self.listing else []

    @property
    def is_given_up(self) -> bool:
        """Whether nothing will be written for it by this call."""
        return bool(self.damage or self.unread)


class Batch(NamedTuple):
    """Neighbours in a shard; the last one closes it."""

    work: ShardWork
    images: list[ReadImage]
    """Of one size."""
    failed: list[Unusable]
    stored: list[TokenSample]
    last: bool


Item = tuple[ShardWork, Sample | None]
"""A sample of a shard; None closes the shard."""
Result = ReadImage | Unusable | TokenSample | UnreadableInputError | None
"""What became of it."""


def shard_samples(
    shards: Iterable[PlannedShard],
    stored: Callable[[PlannedShard], dict[str, StoredSample]],
    told: Callable[[int], None],
) -> Iterator[Item]:
    """List the samples of all shards; `told` hears how many each has.

    `stored` gives those of a shard that an earlier call has made.
    """
    for shard in shards:
        work = ShardWork(shard)
        try:
            work.listing = shard.listing()
            work.stored = stored(shard)
        except OSError as error:
            work.unread = str(unreadable(shard.name, error))
        except ValueError as error:
            work.damage = str(error)
        told(len(work.samples))
        for sample in work.samples:
            yield work, sample
        yield work, None


def read_with(read: Callable[[Sample], ReadImage | Unusable]) -> Callable[[Item], tuple[ShardWork, Result]]:
    """Return `read` for the items of a stream; the rest of a shard of which a file cannot be read is left out."""

    def attempt(item: Item) -> tuple[ShardWork, Result]:
        work, sample = item
        if sample is None:
            return work, None
        if work.is_given_up:
            return work, UnreadableInputError(work.unread)
        if sample.key in work.stored and sample.entry:
            stored = work.stored[sample.key]
            return work, TokenSample(sample.key, stored.tokens(), stored.facts(), sample.kept)
        try:
            return work, read(sample)
        except UnreadableInputError as error:
            return work, error

    return attempt


def batches(read: Iterable[tuple[ShardWork, Result]], batch_size: int) -> Iterator[Batch]:
    """Group neighbours of the same shard and size, up to `batch_size` of them, or fewer where they are large."""
    images: list[ReadImage] = []
    failed: list[Unusable] = []
    stored: list[TokenSample] = []
    for work, result in read:
        if result is None or _is_full(images, result, batch_size) or batch_size in (len(failed), len(stored)):
            yield Batch(work, images, failed, stored, last=result is None)
            images, failed, stored = [], [], []
        if isinstance(result, ReadImage):
            images.append(result)
        elif isinstance(result, Unusable):
            failed.append(result)
        elif isinstance(result, TokenSample):
            stored.append(result)
        elif result is not None:
            work.unread = work.unread or str(result)


def _is_full(images: list[ReadImage], result: Result, batch_size: int) -> bool:
    if not images:
        return False
    shape = images[0].pixels.shape
    is_other = isinstance(result, ReadImage) and shape != result.pixels.shape
    return is_other or len(images) == batch_for(batch_size, *shape[:2])
