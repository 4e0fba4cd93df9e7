"""Where pictures are: files of a folder, or members of tar shards, each read by its number."""

import os
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from .inputs import expand_inputs, printable
from .opening import PictureError

PICTURE_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Entry:
    """A run of bytes in a file, and the name that a person knows it by."""

    path: str
    offset: int
    size: int
    name: str

    def read(self) -> bytes:
        """Return the bytes; raise PictureError when the file cannot be read."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                return file.read(self.size)
        except OSError as error:
            raise PictureError(f"the file cannot be read ({error.strerror})") from None


def is_picture(name: str) -> bool:
    """Return whether the ending of a file name is that of a picture."""
    return name.lower().endswith(PICTURE_ENDINGS)


def file_entry(path: str, name: str) -> Entry:
    """Return the entry of a whole file, of size 0 when it is a link to nowhere: reading it says so."""
    return Entry(path, 0, file_size(path), printable(name))


def file_size(path: str) -> int:
    """Return the bytes of a file, 0 when it is a link to nowhere."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def folder_files(folder: str, left_out: str | None = None) -> list[str]:
    """Return the paths of all files below a folder, relative to it and in order.

    Links are followed, but never into a folder that they lie in; links to nowhere are listed. The folder `left_out` is not
    entered. Raises ValueError when a folder cannot be read.
    """
    closed = {os.path.realpath(left_out)} if left_out else set()
    ways: dict[str, set[str]] = {folder: set()}
    files = []
    for root, folders, names in os.walk(folder, onerror=_refuse_folder, followlinks=True):
        way = ways.pop(root) | {os.path.realpath(root)}
        folders[:] = [name for name in folders if os.path.realpath(os.path.join(root, name)) not in way | closed]
        ways |= {os.path.join(root, name): way for name in folders}
        paths = (os.path.join(root, name) for name in names)
        files += [os.path.relpath(path, folder) for path in paths if os.path.isfile(path) or not os.path.exists(path)]
    return sorted(files)


def shard_entries(path: str) -> list[Entry]:
    """Return the files in an uncompressed tar in their order, named as in the tar.

    Raises ValueError when it is not a tar, cannot be read, or ends in the middle of a file.
    """
    try:
        with tarfile.open(path, "r:") as shard:
            members = [member for member in shard if member.isfile()]
        size = os.path.getsize(path)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{path} is not an uncompressed tar shard ({error}): repair or leave it out.") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): repair or leave it out.") from None
    entries = [Entry(path, member.offset_data, member.size, printable(member.name)) for member in members]
    if entries and entries[-1].offset + entries[-1].size > size:
        raise ValueError(f"{path} ends in the middle of {entries[-1].name}: repair or leave it out.")
    return entries


def index_pictures(path: str) -> list[Entry]:
    """Find the pictures of a folder (walked), a picture file, a .tar shard, a brace range, or a .txt list of these.

    Raises ValueError when something is missing, is no shard, or holds no picture.
    """
    entries: list[Entry] = []
    for part in expand_inputs([path]):
        if os.path.isdir(part):
            entries += [file_entry(file, file) for file in _picture_paths(part)]
        elif is_picture(part):
            entries.append(file_entry(part, part))
        else:
            entries += [entry for entry in shard_entries(part) if is_picture(entry.name)]
    if not entries:
        raise ValueError(f"{path} holds no picture with an ending of {', '.join(PICTURE_ENDINGS)}.")
    return entries


def _picture_paths(folder: str) -> Iterable[str]:
    return (os.path.join(folder, name) for name in folder_files(folder) if is_picture(name))


def _refuse_folder(error: OSError) -> NoReturn:
    raise ValueError(f"{error.filename} cannot be read ({error.strerror}): allow it, or leave the folder out.")
