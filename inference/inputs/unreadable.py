"""Errors of reading: they are not errors of an image, so that nothing is settled by them."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from ...images.finding.index import Entry

CHUNK = 1 << 20


class UnreadableInputError(Exception):
    """A file that goes in cannot be read now; the message names it and says why."""


class HashedInput:
    """A file that is hashed while it is read; raises UnreadableInputError when that fails."""

    def __init__(self, name: str, file: BinaryIO):
        self._name = name
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int) -> bytes:
        try:
            content = self._file.read(size)
        except (OSError, MemoryError) as error:
            raise unreadable(self._name, error) from None
        self.sha256.update(content)
        return content


@contextmanager
def open_input(entry: Entry) -> Iterator[HashedInput]:
    """Open a file to be read in little memory; raise UnreadableInputError when it cannot be read."""
    try:
        file = entry.open()
    except (OSError, MemoryError) as error:
        raise unreadable(entry.name, error) from None
    with file:
        yield HashedInput(entry.name, file)


def input_sha256(entry: Entry) -> str:
    """Return the SHA-256 of a file's bytes; raise UnreadableInputError when they cannot be read."""
    with open_input(entry) as file:
        while file.read(CHUNK):
            pass
        return file.sha256.hexdigest()


def unreadable(name: str, error: OSError | MemoryError) -> UnreadableInputError:
    """Return the error of reading the file `name`, in words."""
    if isinstance(error, MemoryError):
        return UnreadableInputError(f"{name}: the memory is too small for it")
    return UnreadableInputError(f"{name} cannot be read ({error.strerror or error})")
