"""Let processes and threads that write the same file or folder take turns."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .system import IS_WINDOWS, wait_for_lock


@contextmanager
def take_turn(aside: Path, make: Callable[..., None]) -> Iterator[None]:
    """Make a file or folder where needed, and let one writer at a time have it; one that is killed gives it up.

    Where the system has no such locks, as on Windows and some network file systems, all are let in.
    """
    _make(aside, make)
    if IS_WINDOWS:  # which opens no folders
        yield
        return
    while (descriptor := _locked(aside)) is None:
        _make(aside, make)
    try:
        yield
    finally:
        os.close(descriptor)


def _make(aside: Path, make: Callable[..., None]) -> None:
    try:
        make(exist_ok=True)
    except FileExistsError:  # which mkdir raises for a folder, too, that another writer removes meanwhile
        if aside.is_file():
            raise


def _locked(aside: Path) -> int | None:
    """Wait for the lock of a file or folder; return None if the writer before has renamed it meanwhile."""
    with ExitStack() as unless_ours:
        try:
            descriptor = os.open(aside, os.O_RDONLY)
            unless_ours.callback(os.close, descriptor)
            wait_for_lock(descriptor)
            if os.path.samestat(os.fstat(descriptor), aside.stat()):
                unless_ours.pop_all()
                return descriptor
        except FileNotFoundError:
            pass
    return None
