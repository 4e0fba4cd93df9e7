"""Programs in processes that begin with vistok imported: they are forked from a server which imports once per test worker.

An import of the trainer takes seconds of a core, and a test of two ranks that stops and resumes makes seven processes.
"""

import multiprocessing
import os
import runpy
import socket
import sys
from pathlib import Path

from processes import environment

CONTEXT = multiprocessing.get_context("forkserver")
PRELOADED = ["torch._dynamo", "timm", "torchmetrics.functional.image", "accelerate.state", "vistok.train.loop"]


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
