"""The side of a worker: it asks for shards, makes them in one stream, and tells how far they are."""

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from ....tokenizer.errors import WorkFailedError
from ...inputs.samples import ShardTask
from ..job import Job, ShardProgress
from .messages import Broken, Ended, Failed, FromWorker, Made, Ready, Told, Wants
from .remote_job import Place, RemoteJob
from .stream import ShardStream

HEARD_WITHIN = 5.0
"""Seconds."""
TOLD_EVERY = 0.2
"""Seconds between two messages about progress."""


class RunEnded(WorkFailedError):
    """The run has ended elsewhere, for a reason that another process prints too."""


class Desk:
    """The process that hands out shards, as a worker sees it; for one thread, while another one listens."""

    def __init__(self, connection: Connection, on_end: Callable[[str | None], None]):
        """Listen to a connection; `on_end` gets the reason of an end, or None when there is nobody any more."""
        self._connection = connection
        self._on_end = on_end
        self._answers: SimpleQueue[Any] = SimpleQueue()
        self._ended: Ended | None = None
        self._told_at = 0.0
        self._listener = threading.Thread(target=self._listen, name="vistok-desk", daemon=True)
        self._listener.start()

    def job(self, place: Place) -> Job:
        """Wait for the job, and load its tokenizer; raise RunEnded, ValueError and WorkFailedError."""
        remote: RemoteJob | Ended = self._answers.get()
        if isinstance(remote, Ended):
            raise RunEnded(remote.reason)
        return remote.load(place)

    def say(self, message: FromWorker) -> None:
        """Send a message; raise RunEnded when the run has ended."""
        self._check()
        try:
            self._connection.send(message)
        except OSError:
            self._listener.join()  # which learns why
            self._check()

    def leave(self, message: Failed | Broken) -> None:
        """Send why this worker ends, and wait until it is heard: a connection that is closed may drop what was sent."""
        with suppress(RunEnded):
            self.say(message)
        self._listener.join(HEARD_WITHIN)

    def first(self) -> ShardTask | None:
        """Wait for a shard while there is nothing to do; None when the run is over; raise RunEnded when it has failed."""
        self.say(Wants(is_idle=True))
        return self._answer()

    def more(self, first: ShardTask) -> Iterator[ShardTask]:
        """Yield a shard, and others as long as they may begin beside those before."""
        task: ShardTask | None = first
        while task is not None:
            yield task
            self.say(Wants(is_idle=False))
            task = self._answer()

    def tell(self, progress: ShardProgress) -> None:
        """Send progress now and then; raise RunEnded."""
        self._check()
        now = time.monotonic()
        if now - self._told_at >= TOLD_EVERY:
            self._told_at = now
            self.say(Told(progress))

    def _answer(self) -> ShardTask | None:
        answer: ShardTask | Ended | None = self._answers.get()
        self._check()
        return None if isinstance(answer, Ended) else answer

    def _check(self) -> None:
        if self._ended and self._ended.reason:
            raise RunEnded(self._ended.reason)

    def _listen(self) -> None:
        reason: str | None = None
        with suppress(EOFError, OSError):
            while not isinstance(message := self._connection.recv(), Ended):
                self._answers.put(message)
            reason = message.reason
        self._ended = Ended(LEFT_ALONE if reason is None else reason)
        self._answers.put(self._ended)
        self._on_end(reason)


LEFT_ALONE = "The process that hands out shards has ended: run the same command again to continue."


def serve(desk: Desk, job: Job) -> None:
    """Make shards until the run is over; raise RunEnded when it has failed elsewhere."""
    desk.say(Ready())
    try:
        while first := desk.first():
            with closing(ShardStream(job, desk.tell).run(desk.more(first))) as results:
                for result in results:
                    desk.say(Made(result))
    except RunEnded:
        raise
    except Exception as error:
        desk.leave(ending(error))
        raise


def ending(error: Exception) -> Failed | Broken:
    """Return how a worker says that it ends: an error of users, disks or inputs ends the run, any other only the worker."""
    if isinstance(error, WorkFailedError | ValueError | OSError):
        with suppress(Exception):
            if isinstance(pickle.loads(pickle.dumps(error)), type(error)):
                return Failed(error)
        return Failed(WorkFailedError(str(error)))
    return Broken(f"failed ({type(error).__name__}: {' '.join(str(error).split())[:300]})")
