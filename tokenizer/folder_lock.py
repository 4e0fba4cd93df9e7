"""Folders that one command writes to at a time."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .system import IS_WINDOWS, lock_file, process_exists

LOCK_FILE = ".vistok.lock"
CHILDREN_END = 10.0
"""Seconds within which the children of a command that was killed end; they hold its locks."""
_held: set[int] = set()
"""Descriptors of the locks of this process."""


class FolderBusyError(ValueError):
    """Another command writes into the folder."""

    holder: str = ""
    """That command, its process and its host."""


@contextmanager
def hold_folder(folder: Path, command: str) -> Iterator[None]:
    """Keep other commands from writing into a folder, which is made where needed; the lock ends with the process.

    Raises FolderBusyError, with the process and the host that hold it, and OSError when the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_FILE
    descriptor = _locked(path, command)
    _held.add(descriptor)
    try:
        yield
    finally:
        with suppress(PermissionError):  # Windows removes no open file; the next holder takes it over
            path.unlink(missing_ok=True)
        _held.discard(descriptor)
        os.close(descriptor)


def held_locks() -> tuple[int, ...]:
    """Return the descriptors of the locks of this process: a child that inherits them keeps the folders held until it ends."""
    return tuple(_held)


def _let_go() -> None:
    """Close the locks in a forked worker, or it would hold them when the process itself has been killed."""
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _locked(path: Path, command: str) -> int:
    """Open and lock a file; repeat when the one that held it removed it in between."""
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        if not _lock(descriptor):
            holder = _holder(descriptor)
            os.close(descriptor)
            busy = FolderBusyError(
                f"{path.parent} is being written to by {holder}: wait until it has ended, or use another folder."
            )
            busy.holder = holder
            raise busy
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            os.truncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            facts = {"command": command, "pid": os.getpid(), "host": socket.gethostname()}
            os.write(descriptor, json.dumps(facts).encode())
            return descriptor
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock an open file; wait a little for the children of a command that was killed, which are about to end."""
    until = time.monotonic() + CHILDREN_END
    while not lock_file(descriptor):
        if not _is_killed(descriptor) or time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _is_killed(descriptor: int) -> bool:
    """Return whether the command that locked a file ran on this machine, and is there no more."""
    facts = _facts(descriptor)
    if IS_WINDOWS or facts.get("host") != socket.gethostname():
        return False
    return not process_exists(int(facts["pid"]))


def _holder(descriptor: int) -> str:
    try:
        return "{command} (pid {pid} on {host})".format(**_facts(descriptor))
    except KeyError:
        return "another command"


def _facts(descriptor: int) -> dict[str, Any]:
    """Return what the command that locked a file says of itself; nothing before it has written that."""
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        facts = json.loads(os.read(descriptor, 4096))
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}
