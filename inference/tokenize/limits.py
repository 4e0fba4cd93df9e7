"""Which stage is the limit: how long a run waits for images, for tokens, and for shards."""

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")


class Waits(NamedTuple):
    """Seconds of a run by what it waited for."""

    reading: float = 0.0
    encoding: float = 0.0
    writing: float = 0.0
    seconds: float = 0.0
    """All of its time, the rest included."""

    def __add__(self, other: tuple[float, ...]) -> "Waits":  # type: ignore[override]
        return Waits._make(one + another for one, another in zip(self, other, strict=True))

    @property
    def fractions(self) -> dict[str, float]:
        """The fractions of the time, by stage."""
        return {stage: getattr(self, stage) / (self.seconds or 1.0) for stage in STAGES}

    @property
    def limit(self) -> str:
        """The stage that was waited for most."""
        return max(self.fractions, key=self.fractions.__getitem__)


STAGES = ("reading", "encoding", "writing")


class StageClock:
    """Measures the time until each item of some iterators, without that of the iterators inside. For one thread."""

    def __init__(self) -> None:
        self._seconds = dict.fromkeys((*STAGES, "rest"), 0.0)
        self._stage = "rest"
        self._since = time.perf_counter()

    def timed(self, stage: str, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items, and count the time until each as that of a stage."""
        iterator = iter(items)
        while True:
            before = self._switch(stage)
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self._switch(before)
            yield item

    def lap(self) -> Waits:
        """Return the times since the last call."""
        self._switch(self._stage)
        waits = Waits(**{stage: self._seconds[stage] for stage in STAGES}, seconds=sum(self._seconds.values()))
        self._seconds = dict.fromkeys(self._seconds, 0.0)
        return waits

    def _switch(self, stage: str) -> str:
        now, before = time.perf_counter(), self._stage
        self._seconds[before] += now - self._since
        self._stage, self._since = stage, now
        return before
