"""A tar of tokens: for each image KEY.tokens.npy (`q y x`), KEY.tokens.json, and what is carried over beside it."""

import hashlib
import io
import json
import math
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ...images.finding.index import Entry
from ...images.tars.members import tar_members
from ...tokenizer.files import aside_of, flush_to_disk
from ..inputs.keys import webdataset_extension
from ..inputs.samples import Kept
from ..inputs.unreadable import HashedInput, open_input

TOKENS_ENDING = ".tokens.npy"
FACTS_ENDING = ".tokens.json"
OWNER = "vistok"
LARGEST_MEMBER = 1 << 26
"""Bytes of the largest array of tokens that is read back."""
NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class TokenSample(NamedTuple):
    """One image of a shard."""

    key: str
    tokens: np.ndarray
    """`q y x`, the smallest unsigned integers that hold the vocabulary."""
    facts: dict[str, Any]
    """Source, width and height of the upright original, and the SHA-256 of its file."""
    kept: Sequence[Kept] = ()
    """What is carried over."""


class WrittenTar(NamedTuple):
    """A tar that is whole, but not yet in its place."""

    aside: Path
    sha256: str
    size: int
    kept: list[tuple[str, str, str]]
    """Key, name and SHA-256 of each file that was carried over."""


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """Return the smallest unsigned integer type that holds tokens below `vocab_size`."""
    return np.dtype(np.min_scalar_type(vocab_size - 1))


def write_token_tar(path: Path, samples: Sequence[TokenSample]) -> WrittenTar:
    """Write the tar aside and flush it to the disk.

    Raises OSError when the disk refuses, and UnreadableInputError when a file that is carried over cannot be read; nothing
    stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    kept: list[tuple[str, str, str]] = []
    try:
        with open(aside, "wb") as file:
            hashed = _Hashed(file)
            with tarfile.open(fileobj=hashed, mode="w", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
                for sample in samples:
                    _add(tar, sample.key + TOKENS_ENDING, _npy(sample.tokens))
                    _add(tar, sample.key + FACTS_ENDING, json.dumps(sample.facts).encode())
                    for extension, entry in sample.kept:
                        with open_input(entry) as carried:
                            _add_file(tar, f"{sample.key}.{extension}", carried, entry.size)
                        kept.append((sample.key, entry.name, carried.sha256.hexdigest()))
            flush_to_disk(file)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return WrittenTar(aside, hashed.sha256.hexdigest(), hashed.size, kept)


class StoredSample(NamedTuple):
    """One image of a shard on disk."""

    key: str
    tokens_entry: Entry
    facts_entry: Entry | None

    def tokens(self) -> np.ndarray:
        """Return the tokens `q y x`; raise ValueError when they are no such array."""
        content = _read_small(self.tokens_entry)
        try:
            stream = io.BytesIO(content)
            version = np.lib.format.read_magic(stream)
            shape, _, dtype = NPY_HEADERS[version](stream)
            size = math.prod(shape) * dtype.itemsize
        except Exception as error:  # numpy reads it as Python, and whatever that raises comes through
            raise ValueError(
                f"{self.tokens_entry.name} is not an array ({' '.join(str(error).split())[:80]})"
            ) from None
        is_grid = len(shape) == 3 and all(type(side) is int and side > 0 for side in shape)
        if dtype.kind != "u" or not is_grid or size != len(content) - stream.tell():
            raise ValueError(f"{self.tokens_entry.name} is {dtype} {shape}, where unsigned integers q y x are stored")
        tokens: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
        return tokens

    def facts(self) -> dict[str, Any]:
        """Return what is known of the image: source, width, height; raise ValueError when it is not there."""
        name = self.key + FACTS_ENDING
        try:
            facts = json.loads(_read_small(self.facts_entry)) if self.facts_entry else None
        except (ValueError, RecursionError):
            facts = None
        if not isinstance(facts, dict) or not isinstance(facts.get("source"), str):
            raise ValueError(f"{name} is missing or damaged")
        sides = [facts.get("width"), facts.get("height")]
        if not all(type(side) is int and 0 < side for side in sides):
            raise ValueError(f"{name} has no width and height")
        return facts


def stored_samples(shard: Path) -> Iterator[StoredSample]:
    """List the samples of a token shard in their order; raise DamagedShard, a ValueError, when the tar is damaged."""
    pending: StoredSample | None = None
    for member in tar_members(str(shard)):
        if member.entry is None:
            continue
        if webdataset_extension(member.name) == TOKENS_ENDING[1:]:  # that of `a.b.tokens.npy` was carried over
            if pending:
                yield pending
            pending = StoredSample(member.name.removesuffix(TOKENS_ENDING), member.entry, None)
        elif pending and member.name == pending.key + FACTS_ENDING:
            yield pending._replace(facts_entry=member.entry)
            pending = None
    if pending:
        yield pending


def is_token_tar(path: Path) -> bool:
    """Return whether a file is a tar of tokens that vistok wrote, by its first member."""
    try:
        with tarfile.open(path, "r:") as tar:
            first = tar.next()
    except (tarfile.TarError, OSError, EOFError):
        return False
    return first is not None and first.uname == OWNER and first.name.endswith(TOKENS_ENDING)


class _Hashed:
    """A file that is written to once, from its beginning, and hashed on the way."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, content: bytes) -> int:
        self.sha256.update(content)
        self.size += len(content)
        return self._file.write(content)

    def tell(self) -> int:
        return self.size


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    _add_file(tar, name, io.BytesIO(content), len(content))


def _add_file(tar: tarfile.TarFile, name: str, file: IO[bytes] | HashedInput, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.uname, info.gname, info.mode = size, OWNER, OWNER, 0o644
    tar.addfile(info, file)  # type: ignore[arg-type]  # all it does is read


def _npy(tokens: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, tokens, allow_pickle=False)
    return buffer.getvalue()


def _read_small(entry: Entry) -> bytes:
    if entry.size > LARGEST_MEMBER:
        raise ValueError(f"{entry.name} has {entry.size:,} bytes, more than any that vistok writes")
    return entry.read()
