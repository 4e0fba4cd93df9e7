"""Folders that one command writes to at a time."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .system import lock_file

LOCK_FILE = ".vistok.lock"
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
        if not lock_file(descriptor):
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


def _holder(descriptor: int) -> str:
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        facts = json.loads(os.read(descriptor, 4096))
        return f"{facts['command']} (pid {facts['pid']} on {facts['host']})"
    except (ValueError, KeyError, TypeError):  # it has the lock, but has not yet written who it is
        return "another command"
