"""What tells whether the inputs of a shard are those that it was made from."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

CHUNK = 1 << 20


def file_facts(path: str, name: str) -> list[str | int]:
    """Return the name of a file with its size and its time of change in nanoseconds; with -1 where there is none."""
    try:
        facts = os.stat(path)
    except OSError:
        return [name, -1, -1]
    return [name, facts.st_size, facts.st_mtime_ns]


def digest(facts: Iterable[list[str | int]]) -> str:
    """Return the SHA-256 of facts in any order."""
    return hashlib.sha256(json.dumps(sorted(facts, key=json.dumps)).encode()).hexdigest()


def sha256_of(file: BinaryIO) -> str:
    """Return the SHA-256 of the bytes of an open file, and go back to its beginning."""
    value = hashlib.sha256()
    while chunk := file.read(CHUNK):
        value.update(chunk)
    file.seek(0)
    return value.hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return sha256_of(file)


def kind_of(name: str) -> str:
    """Return what a file that is passed over is counted as: its ending in lower case."""
    return os.path.splitext(name)[1].lower() or "without ending"
