"""The webdataset format: a tar with KEY.tokens.npy (`q y x`), KEY.tokens.json and the companions of each image."""

import errno
import io
import json
import math
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, BinaryIO

import numpy as np

from ...images.file_entry import Entry
from ...images.tars.members import Member, tar_members
from ...images.tars.places import member_places
from ..inputs.keys import webdataset_extension
from ..inputs.token_tars import OWNER, TOKENS_ENDING, holds_tokens
from .token_samples import StoredSample, TokenSample, parse_json

METADATA_ENDING = ".tokens.json"
MAX_MEMBER = 1 << 26
"""Bytes of the largest array of tokens that is read back."""
NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class WebdatasetFormat:
    """Shards that webdataset reads: the files of a sample have its key and follow one another."""

    suffixes = (".tar",)

    def require(self) -> None:
        """Do nothing: it needs no other package."""

    def write(self, files: Sequence[BinaryIO], samples: Iterable[TokenSample]) -> None:
        with tarfile.open(fileobj=files[0], mode="w", format=tarfile.PAX_FORMAT) as tar:
            for sample in samples:
                array = io.BytesIO()
                np.save(array, sample.tokens, allow_pickle=False)
                metadata = json.dumps(sample.metadata).encode()
                for ending, content in ((TOKENS_ENDING, array.getvalue()), (METADATA_ENDING, metadata)):
                    _add(tar, sample.key + ending, io.BytesIO(content), len(content))
                for companion in sample.companions:
                    with companion.open() as file_beside:
                        _add(tar, f"{sample.key}.{companion.extension}", file_beside, companion.entry.size)

    def read(self, files: Sequence[BinaryIO]) -> Iterator[StoredSample]:
        return _samples(files[0], tar_members(files[0].name, files[0]))

    def scan(self, files: Sequence[BinaryIO]) -> Iterator[tuple[str, int]]:
        for name, place in member_places(files[0].name, files[0]):
            if webdataset_extension(name) == TOKENS_ENDING[1:]:
                yield name.removesuffix(TOKENS_ENDING), place

    def open_rows(self, files: Sequence[BinaryIO]) -> Callable[[int, int], StoredSample]:
        (file,) = files

        def read_row(_: int, place: int) -> StoredSample:
            return next(_samples(file, tar_members(file.name, file, place)))

        return read_row

    def is_own(self, files: Sequence[BinaryIO | None]) -> bool | None:
        return holds_tokens(files[0])


def _samples(file: BinaryIO, members: Iterable[Member]) -> Iterator[StoredSample]:
    pending: StoredSample | None = None
    companions: dict[str, Callable[[], bytes]] = {}
    for member in members:
        if member.entry is None:
            continue
        if webdataset_extension(member.name) == TOKENS_ENDING[1:]:  # `a.b.tokens.npy` is a companion
            if pending:
                yield pending
            key = member.name.removesuffix(TOKENS_ENDING)
            companions = {}
            pending = StoredSample(key, partial(_read_npy, file, member.entry), lambda: None, companions)
        elif pending and member.name == pending.key + METADATA_ENDING:
            pending = pending._replace(read_metadata=partial(_read_json, file, member.entry))
        elif pending and member.name.startswith(f"{pending.key}."):
            companions[member.name.removeprefix(f"{pending.key}.")] = partial(_read, file, member.entry)
    if pending:
        yield pending


def _add(tar: tarfile.TarFile, name: str, file: BinaryIO, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.uname, info.gname, info.mode = size, OWNER, OWNER, 0o644
    tar.addfile(info, file)
    tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps the headers of all files, which nobody asks for


def _read_npy(file: BinaryIO, entry: Entry) -> np.ndarray:
    """Read an array; raise ValueError, before any memory is taken, when its header and its size do not agree."""
    content = _read_small(file, entry)
    begin = 10 if content[6:7] == b"\x01" else 12
    data = begin + int.from_bytes(content[8:begin], "little")
    try:
        shape, is_transposed, dtype = _npy_header(content[:data])
    except Exception as error:  # numpy parses the header as Python, which can raise anything
        raise ValueError(f"{entry.name} is not an array ({' '.join(str(error).split())[:80]})") from None
    is_sound = not dtype.hasobject and all(type(side) is int and side > 0 for side in shape)
    if not is_sound or math.prod(shape) * dtype.itemsize != len(content) - data:
        raise ValueError(f"{entry.name} is {dtype} {shape}, which its {len(content)} bytes do not hold")
    return np.frombuffer(content, dtype, offset=data).reshape(shape, order="F" if is_transposed else "C").copy()


@lru_cache(1024)
def _npy_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Parse a header, which takes longer than all else: images of one grid share theirs."""
    stream = io.BytesIO(header)
    parsed: tuple[tuple[int, ...], bool, np.dtype[Any]] = NPY_HEADERS[np.lib.format.read_magic(stream)](stream)
    return parsed


def _read_json(file: BinaryIO, entry: Entry) -> Any:
    try:
        return parse_json(_read_small(file, entry))
    except ValueError:
        return None


def _read_small(file: BinaryIO, entry: Entry) -> bytes:
    if entry.size > MAX_MEMBER:
        raise ValueError(f"{entry.name} has {entry.size:,} bytes, more than any that vistok writes")
    return _read(file, entry)


def _read(file: BinaryIO, entry: Entry) -> bytes:
    file.seek(entry.offset)
    content = file.read(entry.size)
    if len(content) < entry.size:
        raise OSError(errno.EIO, "the file is shorter than it was", file.name)
    return content
