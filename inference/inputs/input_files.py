"""Input files: their SHA-256, their state on disk, and why one cannot be read."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ...images.file_entry import Entry
from ...tokenizer.errors import WorkFailedError

CHUNK = 1 << 20


class UnreadableInputError(WorkFailedError):
    """An input file cannot be read at the moment, which says nothing about the image; the message names it and says why."""


def unreadable(name: str, error: OSError | MemoryError) -> UnreadableInputError:
    """Put the error of reading the file `name` into words."""
    if isinstance(error, MemoryError):
        return UnreadableInputError(f"{name}: the memory is too small for it")
    return UnreadableInputError(f"{name} cannot be read ({error.strerror or error})")


def file_state(path: str, name: str) -> list[str | int]:
    """Return the name of a file, its size and its modification time in nanoseconds; -1 for both where there is no file."""
    try:
        state = os.stat(path)
    except OSError:
        return [name, -1, -1]
    return [name, state.st_size, state.st_mtime_ns]


def digest(rows: Iterable[list[str | int]]) -> str:
    """Return the SHA-256 of some rows in any order."""
    return hashlib.sha256(json.dumps(sorted(rows, key=json.dumps)).encode()).hexdigest()


def sha256_of(file: BinaryIO) -> str:
    """Return the SHA-256 of an open file, and seek back to its beginning."""
    value = hashlib.sha256()
    while chunk := file.read(CHUNK):
        value.update(chunk)
    file.seek(0)
    return value.hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return sha256_of(file)


def entry_sha256(entry: Entry) -> str:
    """Return the SHA-256 of an input file; raise UnreadableInputError when it cannot be read."""
    with open_hashed(entry) as file:
        return file.sha256()


class HashedFile:
    """An input file that is hashed while it is read, from its beginning."""

    def __init__(self, name: str, file: BinaryIO):
        self._name = name
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, all when `size` is -1; raise UnreadableInputError when they cannot be read."""
        try:
            content = self._file.read(size)
        except (OSError, MemoryError) as error:
            raise unreadable(self._name, error) from None
        self._hash.update(content)
        return content

    def sha256(self) -> str:
        """Read what is left and return the SHA-256 of the whole file."""
        while self.read(CHUNK):
            pass
        return self._hash.hexdigest()


@contextmanager
def open_hashed(entry: Entry) -> Iterator[HashedFile]:
    """Open an input file, to be read in chunks; raise UnreadableInputError when it cannot be read."""
    try:
        file = entry.open()
    except (OSError, MemoryError) as error:
        raise unreadable(entry.name, error) from None
    with file:
        yield HashedFile(entry.name, file)
