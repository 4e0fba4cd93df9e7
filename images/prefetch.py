"""Work in threads that runs ahead of whoever takes its results."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], window: int
) -> Iterator[Result]:
    """Apply a function in the threads of a pool, at most `window` items ahead; the results keep their order."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


class Room:
    """Bounds what results that nobody has taken yet weigh in all.

    Whoever is next in the order may always begin, so that nobody waits for a place that only it could make free. At the end
    of a `with` all may.
    """

    def __init__(self, limit: int):
        self._limit = limit
        self._weights: dict[int, int] = {}
        self._next = 0
        self._is_closed = False
        self._changed = threading.Condition()

    def __enter__(self) -> "Room":
        return self

    def __exit__(self, *error: object) -> None:
        """Let nobody wait any longer: who would take the results may be gone."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def bounded(
        self, function: Callable[[Item], Result], weight: Callable[[Result], int]
    ) -> Callable[[tuple[int, Item]], Result]:
        """Return a function of numbered items, counted from 0, that waits for room before it begins."""

        def begin(numbered: tuple[int, Item]) -> Result:
            number, item = numbered
            with self._changed:
                self._changed.wait_for(lambda: self._may_begin(number))
            result = function(item)
            with self._changed:
                self._weights[number] = weight(result)
            return result

        return begin

    def _may_begin(self, number: int) -> bool:
        return self._is_closed or number == self._next or sum(self._weights.values()) < self._limit

    def taken(self, results: Iterable[Result]) -> Iterator[Result]:
        """Pass on the results in their order, each of which makes room."""
        for result in results:
            with self._changed:
                self._weights.pop(self._next, None)
                self._next += 1
                self._changed.notify_all()
            yield result
