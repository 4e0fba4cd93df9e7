"""Work spread over threads that each calculate alone.

torch's own threads share each operation and wait for one another at its end: if another program holds one core, every short
operation waits for that core. Here each thread takes a whole piece of work and waits for nobody. Nor do results depend on the
number of threads, for which libraries choose their arithmetic.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from ..devices import after_fork_in_child

Item = TypeVar("Item")
Result = TypeVar("Result")

_pools: dict[int, ThreadPoolExecutor] = {}
_lock = threading.Lock()


def spread(work: Callable[[Item], Result], items: Sequence[Item], threads: int) -> list[Result]:
    """Return `work(item)` of each item, in order, each calculated by one of `threads` threads alone.

    Give `torch.get_num_threads()` as a rule, which is what torch may use in the calling thread. With 1 the calling thread
    does the work. The others have grad mode, inference mode and autocast at their defaults, so `work` must set what it needs.
    """
    if threads == 1:
        return [work(item) for item in items]
    return list(_pool(threads).map(work, items))


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
        torch.get_num_threads()  # a thread takes the number of the process when it first needs one: now, not later
        torch.set_num_threads(1)

    list(pool.map(be_alone, range(threads)))
    # Each thread has a number of its own, but new threads start with the last one set anywhere: restore it.
    torch.set_num_threads(threads)
    return pool


def _forget() -> None:
    global _lock
    _lock = threading.Lock()
    _pools.clear()


after_fork_in_child(_forget)  # the child has none of the threads
