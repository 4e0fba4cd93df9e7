"""The engine with a process for each device of this machine."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from ....tokenizer.errors import WorkFailedError
from ....tokenizer.folder_lock import held_locks
from ...inputs.samples import ShardTask
from ..job import Job, Report, ShardResult
from .dispatcher import Dispatcher, Worker
from .exit_reasons import KillWatch
from .remote_job import Place, RemoteJob, places_for
from .worker_process import main

CODE = f"from {main.__module__} import main; main()"
"""What a worker runs."""
MAX_LOST = 10
"""Workers of a device that may be lost in a row without a shard that they made."""
MAX_FAILED_STARTS = 3


@dataclass
class Slot:
    """A device and the process that works on it."""

    place: Place
    process: "subprocess.Popen[bytes]"
    lost: int = 0
    """Workers that were lost in a row without making a shard."""
    failed_starts: int = 0


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
        self.dispatcher = Dispatcher(report, self._replace, lambda _, error: error)
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

    def _replace(self, worker: Worker) -> str:
        """Start another worker in the place of one that was lost, unless too many were; return why it ended."""
        slot = self._slots.pop(worker)
        slot.process.kill()
        reason = worker.broken or self._kills.reason(_exit_code(slot.process))
        slot.lost = 1 if worker.made else slot.lost + 1
        slot.failed_starts = 0 if worker.is_ready else slot.failed_starts + 1
        if slot.lost < MAX_LOST and slot.failed_starts < MAX_FAILED_STARTS:
            other, slot.process = self._start(slot.place)
            self._slots[other] = slot
        elif not self._slots:
            raise WorkFailedError(f"No worker is left: the last one, on {slot.place.device}, {reason}.")
        return reason


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
