"""List images: files of a folder and members of tar shards, each an Entry that can be read by itself."""

import heapq
import os
import stat
from collections.abc import Iterator

from ..file_entry import NOWHERE, Entry, file_entry, printable
from ..tars.members import tar_members
from .inputs import IMAGE_EXTENSIONS, expand_inputs, is_image


def index_images(path: str) -> list[Entry]:
    """List the images of a folder (walked), an image file, a .tar shard, a brace range, or a .txt list of these.

    A missing file in a list becomes an entry whose reading raises FileNotFoundError. In folders, special files (a fifo) are
    skipped. Raises ValueError when something is missing or holds no image, DamagedShard for a damaged tar.
    """
    entries: list[Entry] = []
    for part, problem, _, is_folder in expand_inputs([path]):
        if problem or (is_image(part) and not is_folder):
            entries.append(file_entry(part, part))
        elif is_folder:
            entries += _folder_entries(part)
        elif part.lower().endswith(".txt"):
            continue  # the caption of an image
        else:
            entries += [member.entry for member in tar_members(part) if member.entry and is_image(member.name)]
    if not entries:
        raise ValueError(f"{path} holds no image with the extension {', '.join(IMAGE_EXTENSIONS)}{_shards_in(path)}.")
    return entries


def _shards_in(path: str) -> str:
    """Return a hint where a folder has shards, which training reads if they are named."""
    shards = [name for name in folder_files(path) if name.lower().endswith(".tar")] if os.path.isdir(path) else []
    return f"; its .tar shards are read if they are named, such as {os.path.join(path, shards[0])}" if shards else ""


def _folder_entries(folder: str) -> Iterator[Entry]:
    for path in (os.path.join(folder, name) for name in folder_files(folder) if is_image(name)):
        try:
            status = os.stat(path)
        except OSError:  # reading it reports why
            yield Entry(path, 0, 0, printable(path))
            continue
        if stat.S_ISREG(status.st_mode):
            yield Entry(path, 0, status.st_size, printable(path))


def folder_files(folder: str, excluded: str | None = None) -> list[str]:
    """Return the paths of everything below a folder that is not a folder, relative to it and sorted.

    Links to folders are followed, and each real folder is entered once. If it has a path without links, it is entered by
    that, else by the first of the paths with the fewest links. Broken links and special files are listed too. The folder
    `excluded` is not entered. Raises OSError when a folder cannot be read.
    """
    entered = {os.path.realpath(excluded)} if excluded else set()
    entered.discard(os.path.realpath(folder))
    files: list[str] = []
    waiting = [(0, "")]  # (links passed, path below the folder)
    try:
        while waiting:
            links, start = heapq.heappop(waiting)
            for name, is_link in _below(folder, start, entered):
                if is_link:
                    heapq.heappush(waiting, (links + 1, name))
                else:
                    files.append(name)
    except OSError as error:
        raise OSError(error.errno, error.strerror, printable(error.filename)) from None
    files.sort()
    return files


def _below(folder: str, start: str, entered: set[str]) -> Iterator[tuple[str, bool]]:
    """Yield what is below `start` without following links: (path, whether it is a link to a folder)."""
    waiting = [(start, os.path.realpath(os.path.join(folder, start)))]
    while waiting:
        at, real = waiting.pop()
        if real in entered:
            continue
        entered.add(real)
        folders = []
        with os.scandir(os.path.join(folder, at)) as found:
            for item in found:  # not kept: an item takes more memory than its name
                path = os.path.join(at, item.name)
                if not _is_folder(item):
                    yield path, False
                elif item.is_symlink():
                    yield path, True
                else:
                    folders.append((path, os.path.join(real, item.name)))
        waiting += sorted(folders, reverse=True)


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError as error:
        if error.errno in NOWHERE:
            return False
        raise
