"""List images: files of a folder and members of tar shards, each an Entry that can be read by itself."""

import os
import stat
from collections.abc import Iterator

from ..file_entry import Entry, file_entry, file_size, printable, problem_of
from ..tars.blocks import DamagedShard
from ..tars.members import Member, tar_members
from .folders import folder_files
from .inputs import IMAGE_EXTENSIONS, expand_inputs, is_image

__all__ = [
    "IMAGE_EXTENSIONS",
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
    """Return the files of an uncompressed tar in their order, links resolved to the files they point to.

    Raises DamagedShard for a damaged tar and OSError when it cannot be read.
    """
    return [member.entry for member in tar_members(path) if member.entry]


def index_images(path: str) -> list[Entry]:
    """List the images of a folder (walked), an image file, a .tar shard, a brace range, or a .txt list of these.

    A missing file in a list becomes an entry whose reading raises FileNotFoundError. In folders, special files (a fifo) are
    skipped. Raises ValueError when something is missing or holds no image, DamagedShard for a damaged tar.
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
        raise ValueError(f"{path} holds no image with the extension {', '.join(IMAGE_EXTENSIONS)}.")
    return entries


def _folder_entries(folder: str) -> Iterator[Entry]:
    for name in folder_files(folder):
        if is_image(name):
            path = os.path.join(folder, name)
            try:
                status = os.stat(path)
            except OSError:  # reading it reports why
                yield Entry(path, 0, 0, printable(path))
                continue
            if stat.S_ISREG(status.st_mode):
                yield Entry(path, 0, status.st_size, printable(path))
