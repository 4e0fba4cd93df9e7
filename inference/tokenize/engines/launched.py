"""The engine of a launch: rank 0 hands out shards to all processes, itself included, and the others make them."""

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from ....cli.user_errors import describe_error
from ....tokenizer.errors import WorkFailedError
from ...inputs.samples import ShardTask
from ..job import Job, Report, ShardResult
from .dispatcher import Dispatcher, Worker
from .launch import Launch, join
from .meeting import Meeting
from .messages import Failed
from .remote_job import Place, RemoteJob
from .worker import LEFT_ALONE, Desk, RunEnded, ending, serve

ENDS_WITHIN = 10.0
"""Seconds within which a process ends after the run has failed elsewhere, whatever it waits for."""


class LaunchedEngine:
    """Makes shards in all processes of a launch; when one of them fails, the run ends for all."""

    def __init__(self, job: Job, report: Report, meeting: Meeting):
        self._job = job
        self._report = report
        self._meeting = meeting

    def run(self, tasks: Iterable[ShardTask]) -> Iterator[ShardResult]:
        """Make shards; raise WorkFailedError, ValueError and OSError."""
        dispatcher = Dispatcher(self._report, _lost, lambda *_: None, _failed, begins_together=True)
        remote = RemoteJob.of(self._job)
        for worker in self._meeting.workers():
            worker.send(remote)
            dispatcher.add(worker)
        with _own_worker(self._job) as own:
            dispatcher.add(own)
            yield from dispatcher.run(tasks)


def _lost(worker: Worker) -> str:
    why = worker.broken or "has ended without a word"
    raise WorkFailedError(f"{worker.name} {why}, so all others stop: run the same command again to continue.")


def _failed(worker: Worker, error: Exception) -> Exception:
    if worker.name == OWN:
        return error
    kind = ValueError if isinstance(error, ValueError) else WorkFailedError
    return kind(f"{worker.name}: {describe_error(error)}")


OWN = "rank 0"


@contextmanager
def _own_worker(job: Job) -> Iterator[Worker]:
    """Let a thread make shards too."""
    ours, theirs = Pipe()
    thread = threading.Thread(target=_serve, args=(theirs, job), name="vistok-worker", daemon=True)
    thread.start()
    try:
        yield Worker(OWN, ours)
    finally:
        ours.close()
        thread.join(ENDS_WITHIN)


def _serve(connection: Connection, job: Job) -> None:
    with suppress(Exception):  # it has said why
        serve(Desk(connection, lambda _: None), job)
    connection.close()


def help_rank_zero(launch: Launch, place: Place, device_type: str) -> None:
    """Make shards for rank 0 until the run is over; raise WorkFailedError when it fails anywhere, and ValueError."""
    desk = Desk(join(launch, launch.hello(device_type)), _end_soon)
    try:
        job = desk.job(place)
    except RunEnded:
        raise
    except Exception as error:
        desk.leave(ending(error))
        raise
    except KeyboardInterrupt:
        desk.leave(INTERRUPTED)
        raise
    try:
        serve(desk, job)
    except KeyboardInterrupt:
        desk.leave(INTERRUPTED)
        raise


INTERRUPTED = Failed(WorkFailedError("interrupted: run the same command again to continue."))


def _end_soon(reason: str | None) -> None:
    """End this process a little later, if it has not ended by then."""
    if reason != "":
        timer = threading.Timer(ENDS_WITHIN, end_now, (reason or LEFT_ALONE,))
        timer.daemon = True
        timer.start()


def end_now(reason: str) -> None:
    """End this process with a sentence."""
    with suppress(OSError, ValueError):
        print(f"tokenize-images: {reason}", file=sys.stderr, flush=True)
    os._exit(1)
