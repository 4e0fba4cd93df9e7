"""Work shared out over threads of which each calculates alone.

torch's own threads share each operation and wait for one another at its end. When another program holds one core, every
short operation waits until the system gives it back. Here a thread takes a whole piece of work and waits for nobody.
Results cannot depend on the number of threads either: libraries choose other arithmetic for another number.
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

_pools: dict[int, ThreadPoolExecutor] = {}
_lock = threading.Lock()


def spread(work: Callable[[Item], Result], items: Sequence[Item], threads: int) -> list[Result]:
    """Return `work(item)` of each item, in their order, each calculated by one thread alone.

    `threads` take part: as a rule `torch.get_num_threads()`, what torch may use in the calling thread. With 1 that one
    works by itself. In the others grad mode, inference mode and autocast are at their defaults, so `work` must set what it
    needs.
    """
    if threads == 1:
        return [work(item) for item in items]
    return list(_pool(threads).map(work, items))


def stop_threads() -> None:
    """End the threads, which otherwise wait for more work, and give back what they keep in memory."""
    with _lock:
        pools = list(_pools.values())
        _pools.clear()
    for pool in pools:
        pool.shutdown()


def _pool(threads: int) -> ThreadPoolExecutor:
    with _lock:
        if threads not in _pools:
            _pools[threads] = _started(threads)
        return _pools[threads]


def _started(threads: int) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(threads, thread_name_prefix="vistok")
    all_there = threading.Barrier(threads)

    def be_alone(_: int) -> None:
        all_there.wait()
        torch.get_num_threads()  # a thread takes on the number of the process when it first needs one: now, not later
        torch.set_num_threads(1)

    list(pool.map(be_alone, range(threads)))
    # The number is each thread's own, but new threads begin with the last one that was set anywhere: as before.
    torch.set_num_threads(threads)
    return pool


def _forget() -> None:
    global _lock
    _lock = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)  # the threads stay with the parent
