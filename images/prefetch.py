"""Prefetch: compute results in threads ahead of their consumer, within a bound of memory."""

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
    """Apply a function in the threads of a pool, at most `window` items ahead; results keep the order of the items."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


class Room:
    """Bounds the total weight of results that were computed and not yet consumed.

    The next item in the order may always begin, so that no deadlock is possible. Leaving the `with` lets all items begin.
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
        """Release all waiting threads, because the consumer may have stopped."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def ahead(
        self,
        pool: ThreadPoolExecutor,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        window: int,
        weight: Callable[[Result], int],
    ) -> Iterator[Result]:
        """Apply a function as `ahead` does, where each item waits for room before it begins, and taking a result makes room."""

        def begin(indexed: tuple[int, Item]) -> Result:
            index, item = indexed
            with self._changed:
                self._changed.wait_for(lambda: self._may_begin(index))
            result = function(item)
            with self._changed:
                self._weights[index] = weight(result)
            return result

        for result in ahead(pool, begin, enumerate(items), window):
            with self._changed:
                self._weights.pop(self._next, None)
                self._next += 1
                self._changed.notify_all()
            yield result

    def _may_begin(self, index: int) -> bool:
        return self._is_closed or index == self._next or sum(self._weights.values()) < self._limit
