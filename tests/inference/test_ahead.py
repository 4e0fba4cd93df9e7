"""Results keep their order, and what nobody has taken yet is bounded."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vistok.inference.ahead import Room, ahead


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("window", [1, 2, 50])
def test_results_keep_their_order(threads, window):
    with ThreadPoolExecutor(threads) as pool:
        assert list(ahead(pool, lambda number: number * number, range(20), window)) == [n * n for n in range(20)]


@pytest.mark.parametrize("threads", [1, 4])
def test_heavy_results_wait_for_room(threads):
    room, lock = Room(limit=25), threading.Lock()
    held, most = 0, 0

    def make(number):
        nonlocal held, most
        time.sleep(0.002 * (number % 3))
        with lock:
            held += 10
            most = max(most, held)
        return number

    with ThreadPoolExecutor(threads) as pool:
        results = ahead(pool, room.bounded(make, lambda _: 10), enumerate(range(40)), window=30)
        for expected, number in enumerate(room.taken(results)):
            assert number == expected
            time.sleep(0.001)
            with lock:
                held -= 10
    # Three fill the room, the others that had begun come on top, and so does the one that is next.
    assert most <= 30 + 10 * threads + 10
