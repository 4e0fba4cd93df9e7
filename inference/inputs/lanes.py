"""Processes that read images, and the lanes to them; one that dies is replaced."""

import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from typing import Any

from ...images.opening.memory_budget import BUDGET
from ...tokenizer.errors import WorkFailedError
from .reader_process import Answer, Request, Setting, UnexpectedError, main

LANES = 2
"""Connections to each process, so that it decodes one image while another is on its way, or waits for the disk."""
MAX_FAILED_STARTS = 3
"""Processes in a row that may die before they are ready, as when memory is short for a moment."""


class ReaderDied(Exception):
    """The process that was asked has ended before it answered."""


@dataclass
class Lane:
    """A connection to a process, for one thread at a time."""

    connection: Connection
    process: subprocess.Popen[bytes]
    is_ready: bool = False


class Lanes:
    """The lanes to at most `processes` processes that read images, which map the memory of a descriptor.

    A process starts when a request finds no lane free; so a call with nothing to read starts none.
    """

    def __init__(self, setting: Setting, memory: int, processes: int, lanes: int = LANES):
        self._setting = setting
        self._memory = memory
        self._max_processes = processes
        self._lanes = lanes
        self._idle: SimpleQueue[Lane | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._failed_starts = 0
        self._error: Exception | None = None
        """Why there are no lanes any more; whoever waits for one then gets None."""

    def ask(self, request: Request) -> list[Answer]:
        """Wait for a lane, and for the answers of its process. Thread-safe.

        Raises ReaderDied, WorkFailedError when no process can start, and RuntimeError for an error that is no image's fault.
        """
        lane = self._send(request)
        try:
            answers = _answers(lane.connection)
        except (EOFError, OSError):
            self._replace(lane)
            raise ReaderDied from None
        self._idle.put(lane)
        if isinstance(answers, UnexpectedError):
            raise RuntimeError(answers.stack)
        return answers

    def _send(self, request: Request) -> Lane:
        """Send a request to the first process that is free and has not died meanwhile."""
        while lane := self._next():
            try:
                if not lane.is_ready:
                    lane.is_ready = lane.connection.recv()
                    self._failed_starts = 0
                lane.connection.send(request)
                return lane
            except (EOFError, OSError):
                self._replace(lane)
        self._idle.put(None)  # for the next that waits
        assert self._error
        raise self._error

    def _next(self) -> Lane | None:
        """Wait for a free lane; start another process if there is none."""
        with suppress(Empty):
            return self._idle.get_nowait()
        with self._lock:
            if not self._error and len(self._processes) < self._max_processes:
                try:
                    self._start()
                except OSError as error:
                    self._give_up(error)
        return self._idle.get()

    def _start(self) -> None:
        ends = [Pipe() for _ in range(self._lanes)]
        code = f"import sys; sys.path[:] = {sys.path!a}; from {main.__module__} import main; main()"
        descriptors = [self._memory, *(theirs.fileno() for _, theirs in ends)]
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, descriptors)],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the process that started it
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # numpy would start a thread per core
        )
        self._processes.add(process)
        for ours, theirs in ends:
            ours.send(self._setting)  # waits in the connection, even for a process that does not start
            theirs.close()
            self._idle.put(Lane(ours, process))

    def _replace(self, lane: Lane) -> None:
        """Start a process in the place of one that has died, when its first lane finds that out."""
        lane.connection.close()
        with self._lock:
            if self._error or lane.process not in self._processes:
                return
            code = _killed(lane.process)
            self._processes.discard(lane.process)
            try:
                self._failed_starts += not lane.is_ready
                if self._failed_starts > MAX_FAILED_STARTS:
                    raise WorkFailedError(f"A process that reads images could not start (exit code {code}).")
                self._start()
            except (WorkFailedError, OSError) as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._error = self._error or error
        self._idle.put(None)

    def close(self) -> None:
        """Kill the processes, which leave nothing behind; threads that still ask get an error."""
        with self._lock:
            self._give_up(WorkFailedError("The processes that read images have been closed."))
            for process in self._processes:
                process.kill()
            for process in self._processes:
                _killed(process)


def _killed(process: subprocess.Popen[bytes]) -> int | None:
    process.kill()
    with suppress(subprocess.TimeoutExpired):  # one that waits for a disk ends later
        return process.wait(5)
    return None


def _answers(connection: Connection) -> Any:
    """Wait for the answers to a request, and lend memory for decoding on the way."""
    while isinstance(message := connection.recv(), int):
        with BUDGET.hold(message):  # given back at once when the process dies
            connection.send(True)
            connection.recv()
    return message
