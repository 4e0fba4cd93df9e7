"""The side of the process that hands out shards: it answers workers, and takes in what they make."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from ...inputs.samples import ShardTask
from ..job import Report, ShardResult
from .handout import Handout
from .messages import Broken, Failed, FromWorker, Made, Ready, Told, Wants


@dataclass(eq=False)
class Worker:
    """A worker and what is known of it."""

    name: str
    """As messages call it, such as `the worker on cuda:1` or `rank 3 on node-7`."""
    connection: Connection
    is_ready: bool = False
    is_idle: bool = False
    broken: str = ""
    """Why it ends, in its own words."""
    made: int = 0
    """Shards that it has sealed or given up."""

    def send(self, message: object) -> None:
        """Send a message; that the worker has ended shows when it is next listened to."""
        with suppress(OSError):
            self.connection.send(message)


class Dispatcher:
    """Hands out shards to workers until all are done or given up."""

    def __init__(
        self,
        report: Report,
        explain: Callable[[Worker], str],
        replace: Callable[[Worker, list[ShardResult], bool], None],
        fail: Callable[[Worker, Exception], Exception],
        begins_together: bool = False,
    ):
        """Take what decides about lost workers and errors.

        `explain` gets a worker that has ended, and returns why, or raises. `replace` gets it with the shards that are given
        up and whether it had none, and may add another worker, or raises. `fail` gets the error that a worker has met, and
        returns what to raise. With `begins_together` nothing is handed out before all are ready.
        """
        self._report = report
        self._explain = explain
        self._replace = replace
        self._fail = fail
        self._begins_together = begins_together
        self.workers: dict[Connection, Worker] = {}

    def add(self, worker: Worker) -> None:
        """Listen to a worker."""
        self.workers[worker.connection] = worker

    def run(self, tasks: Iterable[ShardTask]) -> Iterator[ShardResult]:
        """Yield the result of each shard, also of those that are given up as `lost`; raise what these functions do."""
        handout = Handout(tasks)
        while not handout.is_over:
            self._serve_idle(handout)
            for connection in wait(list(self.workers)):
                assert isinstance(connection, Connection)
                yield from self._listen(self.workers[connection], handout)

    def _serve_idle(self, handout: Handout) -> None:
        if self._begins_together and not all(worker.is_ready for worker in self.workers.values()):
            return
        for worker in self.workers.values():
            if worker.is_idle and (task := handout.take(worker)):
                worker.is_idle = False
                worker.send(task)

    def _listen(self, worker: Worker, handout: Handout) -> Iterator[ShardResult]:
        message = _received(worker.connection)
        if isinstance(message, Broken):
            worker.broken = message.reason
            del self.workers[worker.connection]
            worker.connection.close()
            reason, has_none = self._explain(worker), handout.has_none(worker)
            given_up = handout.lose(worker, reason)
            yield from given_up
            self._replace(worker, given_up, has_none)
        elif isinstance(message, Ready):
            worker.is_ready = True
        elif isinstance(message, Wants):
            worker.is_idle = message.is_idle
            if not message.is_idle:
                worker.send(handout.take(worker))
        elif isinstance(message, Told):
            self._report(message.progress)
        elif isinstance(message, Made):
            worker.made += 1
            handout.finish(worker, message.result.name)
            yield message.result
        elif isinstance(message, Failed):
            raise self._fail(worker, message.error)


def _received(connection: Connection) -> FromWorker:
    """Return a message; a worker that has ended without one is broken, for no reason that it knows."""
    try:
        message: FromWorker = connection.recv()
    except (EOFError, OSError):
        return Broken("")
    return message
