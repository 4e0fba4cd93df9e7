"""Results keep their order, and results that nobody has consumed are bounded."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest

from vistok.images.prefetch import ahead, ahead_within


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("window", [1, 2, 50])
def test_results_keep_their_order(threads, window):
    with ThreadPoolExecutor(threads) as pool:
        assert list(ahead(pool, lambda number: number * number, range(20), window)) == [n * n for n in range(20)]


@pytest.mark.parametrize("threads", [1, 4])
def test_heavy_results_wait_for_room(threads):
    lock = threading.Lock()
    held, most = 0, 0

    def make(number):
        nonlocal held, most
        time.sleep(0.002 * (number % 3))
        with lock:
            held += 10
            most = max(most, held)
        return number

    with ThreadPoolExecutor(threads) as pool:
        for expected, number in enumerate(ahead_within(pool, make, range(40), 30, lambda _: 10, 25)):
            assert number == expected
            time.sleep(0.001)
            with lock:
                held -= 10
    # Three fill the room, the others that had begun come on top, and so does the one that is next.
    assert most <= 30 + 10 * threads + 10


def test_nobody_waits_once_the_results_are_not_taken_any_more():
    def consume():
        with suppress(KeyError), ThreadPoolExecutor(2) as pool:
            begun = ahead_within(pool, lambda number: number, range(30), 20, lambda _: 10, 5)
            with closing(begun):
                for _ in begun:
                    time.sleep(0.1)  # the results fill their limit, and the others wait
                    raise KeyError

    consumer = threading.Thread(target=consume, daemon=True)
    consumer.start()
    consumer.join(timeout=20)
    assert not consumer.is_alive()


def test_items_that_hold_memory_wait_for_room():
    """No item is taken while those that wait hold the limit, but one may always be."""
    taken = 0

    def items():
        nonlocal taken
        for size in [10] * 10 + [100] * 3:
            taken += 1
            yield size

    with ThreadPoolExecutor(2) as pool:
        waiting = []
        for consumed, _ in enumerate(
            ahead_within(pool, lambda size: size, items(), 50, lambda _: 0, 1, lambda size: size, 30)
        ):
            waiting.append(taken - consumed)
    assert max(waiting) == 3 and waiting[-1] == 1 and len(waiting) == 13
