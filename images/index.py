"""Where the pictures of a source are: files of a folder, or members of tar shards, each read by its number."""

import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

from braceexpand import braceexpand

PICTURE_ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True)
class Entry:
    """A run of bytes in a file."""

    path: str
    offset: int
    size: int
    name: str


class PictureIndex:
    """Numbered pictures of one source."""

    def __init__(self, entries: list[Entry]):
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    def name(self, number: int) -> str:
        """Return a name that a person can find the picture by."""
        return self._entries[number].name

    def read(self, number: int) -> bytes:
        """Return the bytes of a picture's file."""
        entry = self._entries[number]
        with open(entry.path, "rb") as file:
            file.seek(entry.offset)
            return file.read(entry.size)


def index_pictures(path: str) -> PictureIndex:
    """Find the pictures of a folder (walked), a .tar shard, or shards with a brace range; order by name.

    Raises ValueError when something is missing, is no shard, or holds no picture.
    """
    entries: list[Entry] = []
    for part in braceexpand(path):
        if os.path.isdir(part):
            entries += _folder_entries(Path(part))
        elif os.path.isfile(part):
            entries += _shard_entries(part)
        else:
            raise ValueError(f"{part} does not exist: give a folder of pictures or a .tar shard.")
    if not entries:
        raise ValueError(f"{path} holds no picture with an ending of {', '.join(sorted(PICTURE_ENDINGS))}.")
    return PictureIndex(entries)


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in PICTURE_ENDINGS


def _folder_entries(folder: Path) -> list[Entry]:
    files = sorted(file for file in folder.rglob("*") if _is_picture(file.name) and file.is_file())
    return [Entry(str(file), 0, file.stat().st_size, str(file)) for file in files]


def _shard_entries(path: str) -> list[Entry]:
    try:
        with tarfile.open(path, "r:") as shard:
            return [
                Entry(path, member.offset_data, member.size, f"{path}:{member.name}")
                for member in shard
                if member.isfile() and _is_picture(member.name)
            ]
    except tarfile.TarError as error:
        raise ValueError(f"{path} is not an uncompressed tar shard ({error}).") from None
