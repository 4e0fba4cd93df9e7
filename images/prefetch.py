"""Prefetch: compute results in threads ahead of their consumer, within a bound of memory."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    pool: ThreadPoolExecutor,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    window: int,
    held: Callable[[Item], int] = lambda _: 0,
    held_limit: int = 1,
) -> Iterator[Result]:
    """Apply a function in the threads of a pool; results keep the order of the items.

    No item is taken while `window` of them wait, or while those that wait hold `held_limit` bytes of memory together.
    """
    waiting: deque[tuple[Future[Result], int]] = deque()
    total = 0
    for item in items:
        size = held(item)
        total += size
        waiting.append((pool.submit(function, item), size))
        del item
        while waiting and (len(waiting) >= window or total >= held_limit):
            future, size = waiting.popleft()
            yield future.result()
            total -= size
    while waiting:
        yield waiting.popleft()[0].result()


def drawn_ahead(thread: ThreadPoolExecutor, items: Iterable[Item], window: int) -> Iterator[Item]:
    """Yield items that are made in the one thread of a pool, `window` of them ahead.

    Shut the pool down before what the items come from is closed.
    """
    end = object()
    source = iter(items)
    for item in ahead(thread, lambda source: next(source, end), repeat(source), window):
        if item is end:
            return
        yield item  # type: ignore[misc]  # none is the end


def ahead_within(
    pool: ThreadPoolExecutor,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    window: int,
    weight: Callable[[Result], int],
    limit: int,
    held: Callable[[Item], int] = lambda _: 0,
    held_limit: int = 1,
) -> Generator[Result, None, None]:
    """Do what `ahead` does, and begin no item while results that were not consumed yet weigh `limit` together.

    The next item in the order may always begin, so that no deadlock is possible. Closing the iterator lets all items begin:
    close it before the pool.
    """
    changed = threading.Condition()
    weights: dict[int, int] = {}
    consumed, is_closed = 0, False

    def begin(indexed: tuple[int, Item]) -> Result:
        index, item = indexed
        with changed:
            changed.wait_for(lambda: is_closed or index == consumed or sum(weights.values()) < limit)
        result = function(item)
        with changed:
            weights[index] = weight(result)
        return result

    try:
        for result in ahead(pool, begin, enumerate(items), window, lambda indexed: held(indexed[1]), held_limit):
            with changed:
                weights.pop(consumed, None)
                consumed += 1
                changed.notify_all()
            yield result
    finally:
        with changed:
            is_closed = True
            changed.notify_all()
