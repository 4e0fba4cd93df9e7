"""Entries: byte ranges of files, each read as one image; and why a path cannot be read."""

import errno
import io
import os
import stat
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from ..tokenizer.system import open_without_waiting
from .spliced_file import splice

IN_MEMORY = 64 << 20
"""Entries of up to this many bytes are opened in memory; larger ones are read from their file on demand."""
_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
FOLDER = "is a folder, not a file"
"""The problem of a folder."""
NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""Errors that mean that a path does not exist; all others are errors of reading."""


class Readable(Protocol):
    """The bytes of one image, or of a file that belongs to it, wherever they are; picklable."""

    @property
    def name(self) -> str:
        """The name that users know it by."""

    @property
    def size(self) -> int:
        """Number of the bytes."""

    def read(self) -> bytes:
        """Return the bytes; raise OSError when they cannot be read or have changed."""

    def open(self) -> BinaryIO:
        """Open the bytes as a seekable file; raise OSError as `read` does."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A byte range of a file, and the name that users know it by."""

    path: str
    offset: int
    """0 for a whole file; files in a tar come after a header."""
    size: int
    name: str

    def read(self) -> bytes:
        """Return the bytes; raise OSError when they cannot be read or the file has changed its size."""
        with self._file() as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise _changed(self.path, "shorter")
        return content

    def open(self) -> BinaryIO:
        """Open the bytes as a seekable file without a file descriptor; raise OSError as `read` does."""
        if self.size <= IN_MEMORY:
            return io.BytesIO(self.read())
        return splice(self._file(), [range(self.offset, self.offset + self.size)])

    def open_on_demand(self) -> BinaryIO:
        """Open the bytes as a file that reads what is asked for, such as headers; raise OSError as `read` does."""
        return splice(self._file(), [range(self.offset, self.offset + self.size)])

    def _file(self) -> BinaryIO:
        file = open_regular(self.path)
        size = os.fstat(file.fileno()).st_size
        if self.offset + self.size <= size and (self.offset or size == self.size):
            return file
        file.close()
        raise _changed(self.path, "longer" if self.size < size and not self.offset else "shorter")


def open_regular(path: str) -> BinaryIO:
    """Open a file for reading; raise OSError for a fifo or a device, without waiting for it."""
    file = open_without_waiting(path)
    if problem := _special(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, problem, path)
    return file


def printable(name: str) -> str:
    r"""Return a file name with bytes that are not UTF-8 escaped as \xff, so that it can be shown and stored."""
    if name.isascii():
        return name  # the same object, which halves the memory of a million names
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def file_entry(path: str, name: str) -> Entry:
    """Return the entry of a whole file; its size is 0 when unknown, and reading it reports why."""
    return Entry(path, 0, file_size(path), printable(name))


def file_size(path: str) -> int:
    """Return the size of a file in bytes, 0 when it cannot be known."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def problem_of(path: str) -> str:
    """Return a phrase that says why a path is not a file ("is a fifo, not a file"), or "" when it is one.

    Permissions are not checked; reading the file raises OSError.
    """
    try:
        return _special(os.stat(path).st_mode)
    except OSError as error:
        if error.errno not in NOWHERE:
            return ""
        return "is a link to nowhere" if os.path.islink(path) else "does not exist"


def _special(mode: int) -> str:
    return "" if stat.S_ISREG(mode) else f"is a {_KINDS.get(stat.S_IFMT(mode), 'special file')}, not a file"


def _changed(path: str, how: str) -> OSError:
    return OSError(errno.EIO, f"the file is {how} than it was", path)
