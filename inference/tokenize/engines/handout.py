"""Which shards are waiting, which worker has which, and what becomes of those of a worker that is lost."""

from collections import Counter, deque
from collections.abc import Hashable, Iterable

from ....tokenizer.wording import list_first, pluralize
from ...inputs.samples import ShardTask
from ..job import ShardResult

MAX_TRIES = 3
"""Workers that may be lost over one shard before it is given up."""
SHOWN = 10
"""Shards in a message."""
MAX_LOST = 10
"""Shards that may be given up in a row, or workers lost without any, until the fault is not that of the shards."""


class Handout:
    """Hands out each shard to one worker at a time.

    The shards of a lost worker are handed out again, each to a worker that has no other: one that kills its workers is found
    out, and costs its neighbours nothing.
    """

    def __init__(self, tasks: Iterable[ShardTask]):
        self._fresh = deque(tasks)
        self._again: deque[ShardTask] = deque()
        self._held: dict[Hashable, dict[str, ShardTask]] = {}
        self._tries: Counter[str] = Counter()

    @property
    def is_over(self) -> bool:
        """Whether all shards are done or given up."""
        return not (self._fresh or self._again or any(self._held.values()))

    def take(self, worker: Hashable) -> ShardTask | None:
        """Return the next shard for a worker; None when there is none that it may begin now."""
        held = self._held.setdefault(worker, {})
        if any(self._tries[name] for name in held):
            return None
        if not held and self._again:
            task = self._again.popleft()
        elif self._fresh:
            task = self._fresh.popleft()
        else:
            return None
        held[task.name] = task
        return task

    def has_none(self, worker: Hashable) -> bool:
        """Return whether a worker has no shard."""
        return not self._held.get(worker)

    def finish(self, worker: Hashable, name: str) -> None:
        """Note that a worker has done a shard."""
        del self._held[worker][name]

    def lose(self, worker: Hashable, reason: str) -> list[ShardResult]:
        """Take back the shards of a lost worker; return results for those that are given up."""
        given_up = []
        for name, task in self._held.pop(worker, {}).items():
            self._tries[name] += 1
            if self._tries[name] < MAX_TRIES:
                self._again.append(task)
            else:
                given_up.append(ShardResult(name, lost=f"{name}: {_lost(self._tries[name])}, the last one {reason}"))
        return given_up


class Losses:
    """What was lost where workers are replaced, since a shard was made there.

    Workers that are lost over a shard which is then named count once: the others are made after it. Where nothing is made
    any more, the device or the machine is at fault, and to go on would only name all that is left.
    """

    def __init__(self) -> None:
        self._given_up: list[str] = []
        self._without_shard = 0

    @property
    def are_too_many(self) -> bool:
        """Whether no other worker should be tried."""
        return len(self._given_up) + self._without_shard >= MAX_LOST

    def reset(self) -> None:
        """Note that a shard was made."""
        self._given_up.clear()
        self._without_shard = 0

    def add(self, given_up: Iterable[ShardResult], has_none: bool) -> None:
        """Note a lost worker: the shards that were given up with it, and whether it had none."""
        self._given_up += [result.name for result in given_up]
        self._without_shard += has_none

    def describe(self) -> str:
        """Return the end of a sentence that says what was given up, or ""."""
        if not self._given_up:
            return ""
        names = list_first(self._given_up, SHOWN)
        return (
            f", after {pluralize(len(self._given_up), 'shard')} in a row ended {MAX_TRIES} each ({names}): leave their inputs "
            "out, or see what ends all workers here"
        )


def _lost(tries: int) -> str:
    return f"{pluralize(tries, 'worker')} ended over it"
