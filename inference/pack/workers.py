"""Processes that pack shards for the process that started them, with which they end."""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait

from ...tokenizer.errors import WorkFailedError
from ...tokenizer.folder_lock import held_locks
from .job import PackJob, PackResult, PackTask
from .shard import Report, pack_shard

ONE_CORE = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""A worker is a core: its libraries start no threads."""


class LostWorkerError(WorkFailedError):
    """A worker ended before its shard did."""


def pack_in_processes(tasks: Sequence[PackTask], job: PackJob, workers: int, report: Report) -> Iterator[PackResult]:
    """Pack shards in processes, and yield each when it is written; raise what a worker raised, and LostWorkerError."""
    waiting = iter(tasks)
    processes: dict[Connection, subprocess.Popen[bytes]] = {}
    at_work: dict[Connection, PackTask] = {}
    try:
        for _ in range(min(workers, len(tasks))):
            connection, process = _start()
            processes[connection] = process
            _send(connection, job)
            _hand_out(connection, waiting, at_work)
        while at_work:
            ready = wait(list(at_work))
            for connection in [each for each in at_work if each in ready]:
                yield from _received(connection, processes[connection], waiting, at_work, report)
    finally:
        for process in processes.values():
            process.kill()
        for connection, process in processes.items():
            process.wait()
            connection.close()


def _received(
    connection: Connection,
    process: "subprocess.Popen[bytes]",
    waiting: Iterator[PackTask],
    at_work: dict[Connection, PackTask],
    report: Report,
) -> Iterator[PackResult]:
    try:
        message = connection.recv()
    except (EOFError, ConnectionResetError):
        raise LostWorkerError(
            f"The worker that packed {at_work[connection].name} ended with code {process.wait()}: run the same command again, "
            "with fewer --workers if the memory is full."
        ) from None
    if isinstance(message, int):
        report(message)
    elif isinstance(message, BaseException):
        raise message
    else:
        del at_work[connection]
        yield message
        _hand_out(connection, waiting, at_work)


def _hand_out(connection: Connection, waiting: Iterator[PackTask], at_work: dict[Connection, PackTask]) -> None:
    task = next(waiting, None)
    if task is not None:
        _send(connection, task)
        at_work[connection] = task


def _send(connection: Connection, message: PackJob | PackTask) -> None:
    with suppress(BrokenPipeError):  # its end is found where it is received from
        connection.send(message)


def _start() -> "tuple[Connection, subprocess.Popen[bytes]]":
    ours, theirs = Pipe()
    code = f"import sys; sys.path[:] = {sys.path!a}; from {__name__} import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(theirs.fileno())],
        # With the lock of the folder: when this process is killed, the next one waits until its workers have ended.
        pass_fds=[theirs.fileno(), *held_locks()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the process that started it
        env={**os.environ, **ONE_CORE},
    )
    theirs.close()
    return ours, process


def main() -> None:
    """Serve the connection whose descriptor is the argument; its end is the end of the process, whatever that does."""
    connection = Connection(int(sys.argv[1]))
    tasks: queue.Queue[PackTask] = queue.Queue()
    job: PackJob = connection.recv()
    threading.Thread(target=_receive, args=(connection, tasks.put), daemon=True).start()
    with suppress(BrokenPipeError):
        while True:
            try:
                connection.send(pack_shard(tasks.get(), job, connection.send))
            except Exception as error:
                if isinstance(error, BrokenPipeError) and error.filename is None:
                    raise
                connection.send(error)


def _receive(connection: Connection, put: Callable[[PackTask], None]) -> None:
    while True:
        try:
            put(connection.recv())
        except (EOFError, OSError):
            os._exit(0)  # what is written is whole or not there
