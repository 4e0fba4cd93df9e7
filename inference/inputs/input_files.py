"""Input files: their SHA-256, their state on disk, and why one cannot be read."""

import hashlib
import json
import os
from collections.abc import Iterable
from typing import BinaryIO

from ...images.file_entry import Readable, open_regular
from ...images.finding.remote import RemoteObject, remote_object
from ...tokenizer.errors import WorkFailedError
from ...tokenizer.remote_files import open_filesystem, open_remote, protocol_of


class UnreadableInputError(WorkFailedError):
    """An input file cannot be read at the moment, which says nothing about the image; the message names it and says why."""


def unreadable(name: str, error: OSError | MemoryError) -> UnreadableInputError:
    """Put the error of reading the file `name` into words."""
    if isinstance(error, MemoryError):
        return UnreadableInputError(f"{name}: the memory is too small for it")
    return UnreadableInputError(f"{name} cannot be read ({error.strerror or error})")


def file_state(path: str, name: str) -> list[str | int]:
    """Return the name of a file, its size and its modification time in nanoseconds; -1 for both where there is no file.

    Behind a URL, the entity tag or what else the store has replaces the time; raises OSError when the store does not answer.
    """
    if protocol_of(path):
        return object_state(remote_object(path), name)
    try:
        state = os.stat(path)
    except OSError:
        return [name, -1, -1]
    return [name, state.st_size, state.st_mtime_ns]


def object_state(found: RemoteObject, name: str) -> list[str | int]:
    """Return the state of an object that was asked for or listed."""
    return [name, -1, -1] if found.problem else [name, found.size, found.version]


def open_input(path: str) -> BinaryIO:
    """Open an input file by its path or URL, seekable; raise OSError when it cannot be read."""
    return open_remote(*open_filesystem(path), path) if protocol_of(path) else open_regular(path)


def digest(rows: Iterable[list[str | int]]) -> str:
    """Return the SHA-256 of some rows in any order."""
    return hashlib.sha256(json.dumps(sorted(rows, key=json.dumps)).encode()).hexdigest()


def sha256_of(file: BinaryIO) -> str:
    """Return the SHA-256 of an open file, and seek back to its beginning."""
    value = hashlib.sha256()
    while chunk := file.read(1 << 20):
        value.update(chunk)
    file.seek(0)
    return value.hexdigest()


def open_hashed(entry: Readable) -> tuple[BinaryIO, str]:
    """Open an input file and return it with its SHA-256; raise UnreadableInputError when it cannot be read."""
    try:
        file = entry.open()
        return file, sha256_of(file)
    except (OSError, MemoryError) as error:
        raise unreadable(entry.name, error) from None


def entry_sha256(entry: Readable) -> str:
    """Return the SHA-256 of an input file; raise UnreadableInputError when it cannot be read."""
    file, sha256 = open_hashed(entry)
    file.close()
    return sha256
