"""A file of a shard as its sidecar describes it, the same for token shards and packed ones."""

import os
from collections.abc import Iterable, Mapping
from typing import BinaryIO

from ...tokenizer.config import Config
from ..inputs.input_files import sha256_of
from .store import Store


class ShardFile(Config):
    """A file of a shard."""

    name: str
    size: int
    sha256: str


def described(name: str, file: BinaryIO) -> ShardFile:
    """Describe an open file that will have a name, and seek back to its beginning."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return ShardFile(name=name, size=size, sha256=sha256_of(file))


def are_whole(files: Iterable[ShardFile], sizes: Mapping[str, int]) -> bool:
    """Return whether all files are among those of a folder, given by their bytes, with as many as described."""
    return all(sizes.get(file.name) == file.size for file in files)


def file_that_differs(store: Store, files: Iterable[ShardFile]) -> str | None:
    """Return the first file that has another SHA-256 than described, or None; raise OSError."""
    for each in files:
        with store.open(each.name) as file:
            if sha256_of(file) != each.sha256:
                return each.name
    return None
