"""Which files are below a folder, each real folder once."""

import heapq
import os
from collections.abc import Iterator

from ..entry import NOWHERE, printable


def folder_files(folder: str, left_out: str | None = None) -> list[str]:
    """Return the paths of everything below a folder that is no folder itself, relative to it and in order.

    Links to folders are followed, and each real folder is entered once: under its path without links if it has one, else
    under the path that passes the fewest links, of these the first in order. Links to nowhere and special files are listed
    too. The folder `left_out` is not entered. Raises OSError when a folder cannot be read.
    """
    entered = {os.path.realpath(left_out)} if left_out else set()
    entered.discard(os.path.realpath(folder))
    files: list[str] = []
    waiting = [(0, "")]  # (links on the way, path below the folder)
    while waiting:
        links, start = heapq.heappop(waiting)
        for name, is_link in _below(folder, start, entered):
            if is_link:
                heapq.heappush(waiting, (links + 1, name))
            else:
                files.append(name)
    return sorted(files)


def _below(folder: str, start: str, entered: set[str]) -> Iterator[tuple[str, bool]]:
    """Yield what is below `start`, without passing links: (path, whether it is a link to a folder)."""
    waiting = [(start, os.path.realpath(os.path.join(folder, start)))]
    while waiting:
        at, real = waiting.pop()
        if real in entered:
            continue
        entered.add(real)
        for item in _scan(os.path.join(folder, at)):
            path = os.path.join(at, item.name)
            if not _is_folder(item):
                yield path, False
            elif item.is_symlink():
                yield path, True
            else:
                waiting.append((path, os.path.join(real, item.name)))


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda item: item.name, reverse=True)
    except OSError as error:
        raise _named(error, folder) from None


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError as error:
        if error.errno in NOWHERE:
            return False
        raise _named(error, item.path) from None


def _named(error: OSError, path: str) -> OSError:
    return OSError(error.errno, error.strerror, printable(path))
