"""Waiting for what another process does, for as long as a busy machine may need."""

import time
from pathlib import Path

LONG = 120.0
"""Seconds."""


def wait_until(condition, *processes, seconds=LONG):
    """Wait until a condition holds; fail when it takes too long, or one of some processes has ended before."""
    until = time.monotonic() + seconds
    while not condition():
        codes = [process.poll() for process in processes]
        assert codes == [None] * len(processes) or condition(), f"ended: {codes}"
        assert time.monotonic() < until
        time.sleep(0.01)


def wait_for_shards(out, count, *processes):
    """Wait until a folder has some shards, while processes write them."""
    wait_until(lambda: len(list(out.glob("*.tar"))) >= count, *processes)


def is_running(pid):
    """Return whether a process has not ended, whether or not somebody has asked for its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for_ends(pids):
    """Wait until some processes have ended."""
    wait_until(lambda: not any(map(is_running, pids)))


HELD = """
import time
from vistok.inference.tokenize.engines import stream
encode = stream.encode_rows
def held(rows, job):
    until = time.monotonic() + {seconds}
    folder = job.out.folder
    while len(list(folder.glob("*.tar"))) >= {shards} and not (folder.parent / "go").exists() and time.monotonic() < until:
        time.sleep(0.01)
    return encode(rows, job)
stream.encode_rows = held
"""


def held_after(shards, seconds=LONG):
    """Return code that lets each batch wait once the folder has some shards, until there is a file `go` beside it."""
    return HELD.format(shards=shards, seconds=seconds)
