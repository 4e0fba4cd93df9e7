"""The engine with a process for each device of this machine."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from ....tokenizer.errors import WorkFailedError
from ....tokenizer.folder_lock import held_locks
from ...inputs.samples import ShardTask
from ..job import Job, Report, ShardResult
from .dispatcher import Dispatcher, Worker
from .exit_reasons import KillWatch
from .handout import Losses
from .remote_job import Place, RemoteJob, places_for
from .worker_process import main

CODE = f"from {main.__module__} import main; main()"
"""What a worker runs."""
MAX_FAILED_STARTS = 3


@dataclass
class Slot:
    """A device and the process that works on it."""

    place: Place
    process: "subprocess.Popen[bytes]"
    losses: Losses = field(default_factory=Losses)
    failed_starts: int = 0
    reason: str = ""
    """Why its last worker ended."""


class ProcessEngine:
    """Makes shards in a process for each device; one that dies is replaced, and its shards are handed out again."""

    def __init__(self, job: Job, report: Report):
        self._job = job
        self._report = report

    def run(self, tasks: Iterable[ShardTask]) -> Iterator[ShardResult]:
        """Make shards; raise WorkFailedError, also when no device is left, ValueError and OSError."""
        tasks = list(tasks)
        if not tasks:
            return
        devices = self._job.placement.devices[: len(tasks)]
        with closing(Processes(self._job, self._report, places_for(devices, self._job.readers))) as processes:
            yield from processes.dispatcher.run(tasks)


class Processes:
    """The processes of some devices."""

    def __init__(self, job: Job, report: Report, places: list[Place]):
        self.dispatcher = Dispatcher(report, self._explain, self._replace, lambda _, error: error)
        self._remote = RemoteJob.of(job)
        self._kills = KillWatch()
        self._slots: dict[Worker, Slot] = {}
        try:
            for place in places:
                worker, process = self._start(place)
                self._slots[worker] = Slot(place, process)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Kill the processes: what they have not sealed is not there."""
        for slot in self._slots.values():
            slot.process.kill()
        for slot in self._slots.values():
            _exit_code(slot.process)
        for worker in self._slots:
            worker.connection.close()

    def _start(self, place: Place) -> tuple[Worker, "subprocess.Popen[bytes]"]:
        ours, theirs = Pipe()
        process = start_process(theirs)
        theirs.close()
        worker = Worker(f"the worker on {place.device}", ours)
        worker.send(place)
        worker.send(self._remote)
        self.dispatcher.add(worker)
        return worker, process

    def _explain(self, worker: Worker) -> str:
        slot = self._slots[worker]
        slot.process.kill()
        slot.reason = worker.broken or self._kills.reason(_exit_code(slot.process))
        return slot.reason

    def _replace(self, worker: Worker, given_up: list[ShardResult], has_none: bool) -> None:
        """Start another worker in the place of one that was lost, unless too many were."""
        slot = self._slots.pop(worker)
        if worker.made:
            slot.losses.reset()
        slot.losses.add(given_up, has_none)
        slot.failed_starts = 0 if worker.is_ready else slot.failed_starts + 1
        if not slot.losses.are_too_many and slot.failed_starts < MAX_FAILED_STARTS:
            other, slot.process = self._start(slot.place)
            self._slots[other] = slot
        elif not self._slots:
            last = f"the last one, on {slot.place.device}, {slot.reason}"
            raise WorkFailedError(f"No worker is left: {last}{slot.losses.describe()}.")


def start_process(connection: Connection) -> "subprocess.Popen[bytes]":
    """Start a worker that serves a connection."""
    code = f"import sys; sys.path[:] = {sys.path!a}; {CODE}"
    return subprocess.Popen(
        [sys.executable, "-c", code, str(connection.fileno())],
        # With the lock of the folder: when this process is killed, the next one waits until its workers have ended.
        pass_fds=[connection.fileno(), *held_locks()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the process that started it
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )


def _exit_code(process: "subprocess.Popen[bytes]") -> int | None:
    with suppress(subprocess.TimeoutExpired):  # one that waits for a disk ends later
        return process.wait(5)
    return None
