"""Where images are: files of a folder, or members of tar shards, each read by its number."""

import os
import stat
from collections.abc import Iterator

from ..entry import Entry, file_entry, file_size, printable, problem_of
from ..tars.blocks import DamagedShard
from ..tars.members import Member, tar_members
from .endings import IMAGE_ENDINGS, is_image
from .folders import folder_files
from .inputs import expand_inputs

__all__ = [
    "IMAGE_ENDINGS",
    "DamagedShard",
    "Entry",
    "Member",
    "file_entry",
    "file_size",
    "folder_files",
    "index_images",
    "is_image",
    "problem_of",
    "shard_entries",
    "tar_members",
]


def shard_entries(path: str) -> list[Entry]:
    """Return the files in an uncompressed tar, and the files that its links lead to, in the tar's order.

    Raises DamagedShard for a damaged tar, OSError when it cannot be read.
    """
    return [member.entry for member in tar_members(path) if member.entry]


def index_images(path: str) -> list[Entry]:
    """Find the images of a folder (walked), an image file, a .tar shard, a brace range, or a .txt list of these.

    A line of a list that is missing becomes an entry: reading it raises FileNotFoundError. What is no file (a fifo) is
    passed over in folders. Raises ValueError when something is missing or holds no image, DamagedShard for a damaged tar.
    """
    entries: list[Entry] = []
    for part, problem in expand_inputs([path]):
        if problem or (is_image(part) and not os.path.isdir(part)):
            entries.append(file_entry(part, part))
        elif part.lower().endswith(".txt"):
            continue  # the caption of an image
        elif os.path.isdir(part):
            entries += _folder_entries(part)
        else:
            entries += [entry for entry in shard_entries(part) if is_image(entry.name)]
    if not entries:
        raise ValueError(f"{path} holds no image with an ending of {', '.join(IMAGE_ENDINGS)}.")
    return entries


def _folder_entries(folder: str) -> Iterator[Entry]:
    for name in folder_files(folder):
        if is_image(name):
            path = os.path.join(folder, name)
            try:
                facts = os.stat(path)
            except OSError:  # reading it says why
                yield Entry(path, 0, 0, printable(path))
                continue
            if stat.S_ISREG(facts.st_mode):
                yield Entry(path, 0, facts.st_size, printable(path))
