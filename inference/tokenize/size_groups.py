"""Images of differing sizes in an order in which neighbours have one size, so that batches are full."""

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from ...images.opening.open_image import ImageError, upright_size
from ...images.prefetch import ahead
from ...images.sizes import network_size
from ...tokenizer.preprocessing import PreprocessingConfig
from ..inputs.samples import Sample
from .batching import Capacity, Item, needs_reading
from .shard_work import ShardWork

HEADERS_AHEAD = 256

Size = tuple[int, int]


class Sized(NamedTuple):
    """An item of the stream, with the size `height width` that its image has after preprocessing."""

    work: ShardWork
    sample: Sample | None
    size: Size | None
    """None where it is not needed, or cannot be known from the headers."""


class SizeGroups(NamedTuple):
    """How images are gathered by their sizes."""

    config: PreprocessingConfig
    downsample: int
    capacity: Capacity
    """Images of a size that make full batches."""
    waiting: int
    """Images that may wait for others of their size; 0 leaves the order as it is."""
    stays_in_shard: bool = False
    """Whether no image waits for those of the next shard."""

    def in_order(self, items: Iterable[Item], threads: ThreadPoolExecutor) -> Iterator[Item]:
        """Yield the items in an order in which neighbours have one size, each shard's end after its last image.

        Headers are read in `threads`. Only samples wait, never pixels. An image waits until `waiting` others do, at most.
        """
        if self.config.side or not self.waiting:
            return iter(items)
        sized = ahead(threads, partial(_sized, config=self.config, downsample=self.downsample), items, HEADERS_AHEAD)
        return self._grouped(sized)

    def _grouped(self, items: Iterable[Sized]) -> Iterator[Item]:
        waiting = _Waiting()
        for work, sample, size in items:
            if sample is None:
                if self.stays_in_shard:
                    yield from waiting.take_all()
                yield from waiting.end(work)
            elif size is None:
                yield work, sample
            else:
                if waiting.add(work, sample, size) >= self.capacity(*size):
                    yield from waiting.take(size)
                if waiting.count >= self.waiting:
                    yield from waiting.take(waiting.oldest)
        yield from waiting.take_all()


class _Waiting:
    """Samples that wait, by their size."""

    def __init__(self) -> None:
        self.count = 0
        self._groups: dict[Size, list[tuple[ShardWork, Sample]]] = {}  # in the order of their first samples
        self._left: Counter[int] = Counter()
        self._ended: dict[int, ShardWork] = {}

    @property
    def oldest(self) -> Size:
        """The size of the sample that waits longest."""
        return next(iter(self._groups))

    def add(self, work: ShardWork, sample: Sample, size: Size) -> int:
        """Let a sample wait, and return how many of its size do."""
        group = self._groups.setdefault(size, [])
        group.append((work, sample))
        self.count += 1
        self._left[id(work)] += 1
        return len(group)

    def take(self, size: Size) -> Iterator[Item]:
        """Yield the samples of a size, and the ends of shards none of whose samples waits any more."""
        group = self._groups.pop(size)
        self.count -= len(group)
        for work, sample in group:
            yield work, sample
            self._left[id(work)] -= 1
            if not self._left[id(work)]:
                del self._left[id(work)]
                if self._ended.pop(id(work), None):
                    yield work, None

    def take_all(self) -> Iterator[Item]:
        """Yield all samples, those of one size together."""
        while self._groups:
            yield from self.take(self.oldest)

    def end(self, work: ShardWork) -> Iterator[Item]:
        """Yield the end of a shard, now or after its last sample."""
        if self._left[id(work)]:
            self._ended[id(work)] = work
        else:
            yield work, None


def _sized(item: Item, config: PreprocessingConfig, downsample: int) -> Sized:
    work, sample = item
    size = None
    if needs_reading(work, sample) and sample and sample.entry:
        try:
            with sample.entry.open_on_demand() as file:
                width, height = upright_size(file)
            size = network_size(config, height, width, downsample)
        except (ImageError, OSError, MemoryError):
            pass  # reading it will say what is wrong
    return Sized(work, sample, size)
