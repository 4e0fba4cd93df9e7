"""Entries that are no local file: byte ranges behind a URL, and bytes in memory."""

import errno
import io
from dataclasses import dataclass
from typing import BinaryIO

from ..tokenizer.remote_files import open_filesystem, open_remote
from ..tokenizer.retries import retried
from .file_entry import IN_MEMORY
from .spliced_file import splice

UNKNOWN = -1
"""Size of an object whose store does not say it."""


@dataclass(frozen=True, slots=True)
class RemoteEntry:
    """A byte range behind a URL, and the name that users know it by."""

    path: str
    """The URL."""
    offset: int
    size: int
    name: str
    is_whole: bool = False
    """Whether the range is all of the object."""

    def read(self) -> bytes:
        """Return the bytes, tried again with backoff; raise OSError when they cannot be read or have changed in number."""
        filesystem, path = open_filesystem(self.path)

        def read() -> bytes:
            # A whole object is not read as a range, so that one that became longer is noticed.
            limits = {} if self.is_whole else {"start": self.offset, "end": self.offset + self.size}
            content: bytes = filesystem.cat_file(path, **limits)
            if self.size != UNKNOWN and len(content) != self.size:
                raise OSError(errno.EIO, f"{len(content)} of {self.size} bytes came", self.path)
            return content

        return retried(read, self.path) if self.size else b""

    def open(self) -> BinaryIO:
        """Open the bytes as a seekable file; raise OSError as `read` does."""
        if self.size <= IN_MEMORY:
            return io.BytesIO(self.read())
        file = open_remote(*open_filesystem(self.path), self.path)
        return splice(file, [range(self.offset, self.offset + self.size)])


@dataclass(frozen=True, slots=True)
class HeldEntry:
    """Bytes that came with others, and the name that users know them by."""

    content: bytes
    name: str

    @property
    def size(self) -> int:
        """Number of the bytes."""
        return len(self.content)

    def read(self) -> bytes:
        """Return the bytes."""
        return self.content

    def open(self) -> BinaryIO:
        """Open the bytes as a seekable file."""
        return io.BytesIO(self.content)
