"""Programs in processes that begin with vistok imported: they are forked from a server which imports once per test worker.

An import of the trainer takes seconds of a core, and a test of two ranks that stops and resumes makes seven processes.
"""

import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
from multiprocessing import forkserver, reduction
from pathlib import Path

from processes import environment

CONTEXT = multiprocessing.get_context("forkserver")
PRELOADED = [
    "torch._dynamo",
    "timm",
    "torchmetrics.functional.image",
    "accelerate.state",
    "vistok.train.loop",
    "vistok.cli.launch",
    "vistok.inference.commands.tokenize_images",
    "vistok.inference.tokenize.run",
    "vistok.inference.tokenize.engines.launched",
    "vistok.inference.tokenize.engines.meeting",
    "vistok.inference.tokenize.engines.worker_process",
]
TOKENIZE = "from vistok.cli.launch import tokenize_images; tokenize_images()"
"""What the console script of tokenize-images runs."""


def start_prepared(program, arguments, log, **variables):
    """Start a program as `python -m MODULE`, or as `python FILE` where it is a path; its output goes to the file `log`."""
    start_server()
    process = CONTEXT.Process(target=_run, args=(str(program), list(map(str, arguments)), str(log), variables))
    process.start()
    return process


def run_prepared(program, arguments, log, **variables):
    """Run a program to its end, which must be a good one."""
    end([start_prepared(program, arguments, log, **variables)], [log])


def run_ranks(program, arguments, folder, ranks=2):
    """Run a program on ranks that are connected by gloo, with the variables that a launcher sets; return what each printed."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    common = {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    logs = [Path(folder) / f"rank-{rank}.log" for rank in range(ranks)]
    each = [{"RANK": str(rank), "LOCAL_RANK": str(rank), **common} for rank in range(ranks)]
    end([start_prepared(program, arguments, log, **own) for log, own in zip(logs, each, strict=True)], logs)
    return [log.read_text() for log in logs]


def end(processes, logs, seconds=120):
    """Wait for processes that must all end well."""
    try:
        for process in processes:
            process.join(seconds)
    finally:
        for process in processes:
            process.kill()
    assert [process.exitcode for process in processes] == [0] * len(processes), [
        Path(log).read_text()[-6000:] for log in logs
    ]


class Inherited:
    """A descriptor that a process which is started gets too: pickled it becomes the number there."""

    def __init__(self, number):
        self._number = number

    def __reduce__(self):
        return _received, (reduction.DupFd(self._number),)


def _received(passed):
    return passed.detach()


class Program:
    """Python code in a prepared process, with the methods of a Popen whose outputs are pipes."""

    def __init__(self, code, arguments, **variables):
        start_server()
        self._outputs = [tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")]  # noqa: SIM115
        numbers = [Inherited(file.fileno()) for file in self._outputs]
        self._process = CONTEXT.Process(target=_execute, args=(code, list(map(str, arguments)), numbers, variables))
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("a prepared process", timeout)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self._process.kill()

    def communicate(self, timeout=None):
        """Wait for the end and return standard output and standard error."""
        self.wait(timeout)
        for file in self._outputs:
            file.seek(0)
        return [file.read() for file in self._outputs]

    def close(self):
        """Kill the process if it has not ended, and drop what it has printed."""
        self.kill()
        self._process.join()
        for file in self._outputs:
            file.close()


def _execute(code, arguments, outputs, variables):
    os.environ.update(variables)
    for number, file in enumerate(outputs, 1):
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["-c", *arguments]
    exec(code, {"__name__": "__main__"})


def prepare_workers(pids, code=""):
    """Let this prepared process start those of ProcessEngine as prepared ones, and note their numbers in the file `pids`.

    They run `code` before their work.
    """
    from vistok.inference.tokenize.engines import processes

    def start(connection):
        worker = PreparedWorker(connection, code)
        with open(pids, "a") as file:
            file.write(f"{worker.pid}\n")
        return worker

    # The server that made this process makes those too.
    forkserver._forkserver.ensure_running = lambda: None
    processes.start_process = start


class PreparedWorker:
    """A worker of ProcessEngine in a prepared process, with the methods of Popen that the engine calls."""

    def __init__(self, connection, code):
        from vistok.tokenizer.folder_lock import held_locks

        locks = [Inherited(number) for number in held_locks()]
        self._process = CONTEXT.Process(target=_work, args=(connection, locks, Inherited(2), code))
        self._process.start()
        self.pid = self._process.pid

    def kill(self):
        self._process.kill()

    def wait(self, timeout):
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a prepared worker", timeout)
        return self._process.exitcode


def _work(connection, locks, errors, code):
    from vistok.inference.tokenize.engines import worker_process

    os.setsid()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(errors, 2)
    for number in (null, errors):
        os.close(number)
    sys.argv = ["-c", str(os.dup(connection.fileno()))]
    connection.close()
    exec(code, {})
    worker_process.main()


def start_server():
    """Start the server of this worker, unless it runs."""
    CONTEXT.set_forkserver_preload(PRELOADED)
    before = dict(os.environ)
    os.environ.update(environment(OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="", ACCELERATE_USE_CPU="true"))
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _run(program, arguments, log, variables):
    os.environ.update(variables)
    with open(log, "wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = [program, *arguments]
    if program.endswith(".py"):
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
