"""Walk a folder; each real folder is entered once."""

import heapq
import os
from collections.abc import Iterator

from ..file_entry import NOWHERE, printable


def folder_files(folder: str, excluded: str | None = None) -> list[str]:
    """Return the paths of everything below a folder that is not a folder, relative to it and sorted.

    Links to folders are followed, and each real folder is entered once: by its path without links if it has one, else by the
    first of the paths with the fewest links. Broken links and special files are listed too. The folder `excluded` is not
    entered. Raises OSError when a folder cannot be read.
    """
    entered = {os.path.realpath(excluded)} if excluded else set()
    entered.discard(os.path.realpath(folder))
    files: list[str] = []
    waiting = [(0, "")]  # (links passed, path below the folder)
    while waiting:
        links, start = heapq.heappop(waiting)
        for name, is_link in _below(folder, start, entered):
            if is_link:
                heapq.heappush(waiting, (links + 1, name))
            else:
                files.append(name)
    return sorted(files)


def _below(folder: str, start: str, entered: set[str]) -> Iterator[tuple[str, bool]]:
    """Yield what is below `start` without following links: (path, whether it is a link to a folder)."""
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
