"""How torture_tokenize.py starts tokenize-images with each engine, and which of its processes it kills."""

import importlib.util
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

COMMAND = "from vistok.inference.commands.tokenize_images import app; app()"
IN_PROCESSES = "from vistok.inference.inputs import readers; readers.FED_BY_PROCESSES = ('cpu', 'cuda', 'mps'); "
"""Comes before the command in about half of the runs: their readers are processes, as on a GPU."""
ENDS_WITHIN = 30.0
"""Seconds within which all other processes end after one that they cannot do without was killed."""
ACTOR = b"ray::ShardMaker"


class Running(NamedTuple):
    """A run of the command."""

    processes: list["subprocess.Popen[bytes]"]
    """Those of a launch, or the only one that was started here."""
    find_workers: Callable[[int], list[int]]
    """Returns the processes that may be killed while the run goes on, of the one that started them."""

    def workers(self) -> list[int]:
        """Return the processes that may be killed while the run goes on."""
        return self.find_workers(self.processes[0].pid)

    def kill(self, generator: random.Random) -> bytes:
        """Kill the driver, or one process of a launch; return what is printed, once all that belongs to the run has ended."""
        left = {pid for process in self.processes for pid in filter(may_write, descendants(process.pid))}
        generator.choice(self.processes).kill()
        said = b"".join(process.communicate(timeout=ENDS_WITHIN)[1] for process in self.processes)
        until = time.monotonic() + ENDS_WITHIN
        while left := set(filter(is_running, left)):
            if time.monotonic() > until:
                sys.exit(f"These processes live on {ENDS_WITHIN} seconds after the kill: {sorted(left)}")
            time.sleep(0.05)
        return said

    @property
    def code(self) -> int:
        """The exit code, that of rank 0 in a launch; that of the kill when any was killed."""
        codes = [process.returncode for process in self.processes]
        return -signal.SIGKILL if -signal.SIGKILL in codes else codes[0]


def start_local(arguments: list[str], environment: dict[str, str], generator: random.Random) -> Running:
    """Start one process that does all."""
    return Running([_started(generator.choice(["", IN_PROCESSES]) + COMMAND, arguments, environment)], lambda _: [])


def start_processes(arguments: list[str], environment: dict[str, str], generator: random.Random) -> Running:
    """Start one process that starts two or three."""
    devices = ",".join(["cpu"] * generator.choice([2, 3]))
    return Running([_started(COMMAND, [*arguments, "--devices", devices], environment)], children)


def start_launched(arguments: list[str], environment: dict[str, str], generator: random.Random) -> Running:
    """Start the two or three processes of a launch."""
    world_size = generator.choice([2, 3])
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    common = {"WORLD_SIZE": world_size, "LOCAL_WORLD_SIZE": world_size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = [common | {"RANK": rank, "LOCAL_RANK": rank} for rank in range(world_size)]
    each = [environment | {name: str(value) for name, value in rank.items()} for rank in ranks]
    return Running([_started(COMMAND, arguments, own) for own in each], lambda _: [])


def start_ray(arguments: list[str], environment: dict[str, str], generator: random.Random) -> Running:
    """Start a driver with a Ray cluster of its own, and one or two actors."""
    devices = ",".join(["cpu"] * generator.choice([1, 2]))
    process = _started(COMMAND, [*arguments, "--engine", "ray", "--devices", devices], environment)
    return Running(
        [process], lambda driver: [pid for pid in descendants(driver) if _command_line(pid).startswith(ACTOR)]
    )


def engines() -> dict[str, Callable[[list[str], dict[str, str], random.Random], Running]]:
    """Return the engines that can be started here, by name."""
    found = {"local": start_local, "processes": start_processes, "launched": start_launched}
    return found | ({"ray": start_ray} if importlib.util.find_spec("ray") else {})


def _started(code: str, arguments: list[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def children(pid: int) -> list[int]:
    """Return the processes that one has started; none when it has ended."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    """Return the processes that one has started, and theirs."""
    return [each for child in children(pid) for each in (child, *descendants(child))]


def is_running(pid: int) -> bool:
    """Return whether a process has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def may_write(pid: int) -> bool:
    """Return whether a process runs code of vistok, as Ray's own processes do not, which take a minute to end."""
    line = _command_line(pid)
    return b"vistok" in line or line.startswith(ACTOR)


def kill_one(pids: list[int], generator: random.Random) -> bool:
    """Kill one of some processes; return False when there is none."""
    if not pids:
        return False
    try:
        os.kill(generator.choice(pids), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
