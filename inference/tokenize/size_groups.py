"""Images of differing sizes in an order in which neighbours have one size, so that batches are full."""

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from ...tokenizer.preprocessing import PreprocessingConfig
from ..inputs.readers import HELD_BYTES
from ..inputs.samples import Sample
from .batching import Capacity, Item
from .headers import Size, Sized, read_headers
from .shard_work import ShardWork


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

        Headers are read in `threads`. Samples wait, never pixels. An image waits until `waiting` others do, at most, or until
        the files that are in memory already, because they came from a network, have HELD_BYTES.
        """
        if self.config.side or not self.waiting:
            return iter(items)
        return self._grouped(read_headers(items, self.config, self.downsample, threads))

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
                while waiting.count >= self.waiting or waiting.held >= HELD_BYTES:
                    yield from waiting.take(waiting.oldest)
        yield from waiting.take_all()


class _Waiting:
    """Samples that wait, by their size."""

    def __init__(self) -> None:
        self.count = 0
        self.held = 0
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
        self.held += sample.held
        self._left[id(work)] += 1
        return len(group)

    def take(self, size: Size) -> Iterator[Item]:
        """Yield the samples of a size, and the ends of shards none of whose samples waits any more."""
        group = self._groups.pop(size)
        self.count -= len(group)
        self.held -= sum(sample.held for _, sample in group)
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
