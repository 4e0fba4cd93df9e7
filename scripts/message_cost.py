"""What a message of a worker costs the process that hands out shards, for scripts/scale_numbers.py."""

import threading
import time
from multiprocessing import Pipe
from typing import Any, NamedTuple

from vistok.inference.tokenize.engines.dispatcher import Dispatcher, Worker
from vistok.inference.tokenize.engines.messages import Made, Ready, Told, Wants
from vistok.inference.tokenize.job import ShardProgress, ShardResult

MESSAGES = 50


class Task(NamedTuple):
    """What the dispatcher looks at in a shard."""

    name: str


def seconds_per_message(workers: int) -> float:
    """Return the seconds of a core for a message, when all workers make one shard and tell how far they are."""
    told = []
    dispatcher = Dispatcher(told.append, lambda _: "", lambda *_: None, lambda _, error: error)
    ends: list[Any] = []
    for index in range(workers):
        ours, theirs = Pipe()
        dispatcher.add(Worker(str(index), ours))
        ends.append(theirs)
        theirs.send(Ready())
        theirs.send(Wants(is_idle=True))
    thread = threading.Thread(target=_work, args=(ends,))
    thread.start()
    before = time.thread_time()
    made = list(dispatcher.run(Task(str(index)) for index in range(workers)))  # type: ignore[misc]
    seconds = time.thread_time() - before
    thread.join()
    assert len(made) == workers and len(told) == workers * MESSAGES
    return seconds / (workers * (MESSAGES + 3))


def _work(ends: list[Any]) -> None:
    tasks = [end.recv() for end in ends]
    for number in range(MESSAGES):
        for end, task in zip(ends, tasks, strict=True):
            end.send(Told(ShardProgress(task.name, 10_000, number, 0)))
    for end, task in zip(ends, tasks, strict=True):
        end.send(Made(ShardResult(task.name)))
