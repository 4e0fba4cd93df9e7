"""Where pictures are: files of a folder, or members of tar shards, each read by its number."""

import os
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from braceexpand import braceexpand

PICTURE_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Entry:
    """A run of bytes in a file, and the name that a person knows it by."""

    path: str
    offset: int
    size: int
    name: str

    def read(self) -> bytes:
        """Return the bytes."""
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


def is_picture(name: str) -> bool:
    """Return whether the ending of a file name is that of a picture."""
    return name.lower().endswith(PICTURE_ENDINGS)


def file_entry(path: str, name: str) -> Entry:
    """Return the entry of a whole file."""
    return Entry(path, 0, os.path.getsize(path), name)


def folder_files(folder: str) -> list[str]:
    """Return the paths of all files below a folder, relative to it and in order."""
    files = (file for file in Path(folder).rglob("*") if file.is_file())
    return sorted(file.relative_to(folder).as_posix() for file in files)


def shard_entries(path: str) -> list[Entry]:
    """Return the files in an uncompressed tar in their order, named as in the tar.

    Raises ValueError when it is not a tar, or ends in the middle of a file.
    """
    try:
        with tarfile.open(path, "r:") as shard:
            members = [member for member in shard if member.isfile()]
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{path} is not an uncompressed tar shard ({error}): repair or leave it out.") from None
    entries = [Entry(path, member.offset_data, member.size, member.name) for member in members]
    if entries and entries[-1].offset + entries[-1].size > os.path.getsize(path):
        raise ValueError(f"{path} ends in the middle of {entries[-1].name}: repair or leave it out.")
    return entries


def expand_inputs(inputs: Iterable[str]) -> list[str]:
    """Return the paths that inputs stand for: brace ranges spelled out, and .txt lists (a path a line) read.

    Raises ValueError for a path that does not exist.
    """
    paths = []
    for text in inputs:
        for path in [text] if os.path.exists(text) else braceexpand(text):
            if not os.path.exists(path):
                raise ValueError(f"{path} does not exist: give picture files, folders, .tar shards or a .txt list.")
            if path.lower().endswith(".txt") and os.path.isfile(path):
                lines = (line.strip() for line in Path(path).read_text().splitlines())
                paths += expand_inputs(line for line in lines if line)
            else:
                paths.append(path)
    return paths


def index_pictures(path: str) -> list[Entry]:
    """Find the pictures of a folder (walked), a picture file, a .tar shard, a brace range, or a .txt list of these.

    Raises ValueError when something is missing, is no shard, or holds no picture.
    """
    entries: list[Entry] = []
    for part in expand_inputs([path]):
        if os.path.isdir(part):
            entries += [file_entry(os.path.join(part, name), os.path.join(part, name)) for name in folder_files(part)]
        elif is_picture(part):
            entries.append(file_entry(part, part))
        else:
            entries += shard_entries(part)
    pictures = [entry for entry in entries if is_picture(entry.name)]
    if not pictures:
        raise ValueError(f"{path} holds no picture with an ending of {', '.join(PICTURE_ENDINGS)}.")
    return pictures
