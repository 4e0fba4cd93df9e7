"""Which shards are waiting, which worker has which, and what becomes of those of a worker that is lost."""

from collections import Counter, deque
from collections.abc import Hashable, Iterable

from ....tokenizer.wording import pluralize
from ...inputs.samples import ShardTask
from ..job import ShardResult

MAX_TRIES = 3
"""Workers that may be lost over one shard before it is given up."""


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


def _lost(tries: int) -> str:
    return f"{pluralize(tries, 'worker')} ended over it"
