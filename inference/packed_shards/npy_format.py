"""Plain arrays, which numpy maps into memory: NAME.ids.npy and .loss.npy, and where rows and documents begin in them.

Row i is `ids[rows[i]:rows[i + 1]]`; `documents` has the first id of each document, in order. NAME.rows.jsonl has the rest.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np

from .lines import check_end, is_own_file, read_line, write_line
from .rows import PackedRow

HEADER = 128
"""Bytes of the header of an array, whatever its length: it is written when the length is known."""
OFFSETS = "<i8"


class PackedNpyFormat:
    """Shards that are arrays, for a plain loop of PyTorch."""

    suffixes = (".ids.npy", ".loss.npy", ".rows.npy", ".documents.npy", ".rows.jsonl")

    def require(self) -> None:
        """Do nothing: it needs no other package."""

    def write(self, files: Sequence[BinaryIO], rows: Iterable[PackedRow], dtype: str) -> None:
        ids, loss, ends, starts, lines = files
        kind = np.dtype(dtype).newbyteorder("<")
        for file in (ids, loss):
            file.write(bytes(HEADER))
        offsets, documents = [0], []
        for row in rows:
            ids.write(row.ids.astype(kind, copy=False).tobytes())
            loss.write(row.loss.tobytes())
            documents += [offsets[-1] + document.span[0] for document in row.documents]
            offsets.append(offsets[-1] + row.ids.size)
            write_line(lines, row)
        for file, each in ((ids, kind), (loss, np.dtype("u1"))):
            file.seek(0)
            file.write(_header(each, offsets[-1]))
        for file, numbers in ((ends, offsets), (starts, documents)):
            file.write(_header(np.dtype(OFFSETS), len(numbers)) + np.array(numbers, OFFSETS).tobytes())

    def read(self, files: Sequence[BinaryIO]) -> Iterator[PackedRow]:
        ids, loss, ends, starts, lines = files
        offsets, documents = (_array(file) for file in (ends, starts))
        kind, total = _read_header(ids)
        mask_kind, mask_total = _read_header(loss)
        is_ordered = len(offsets) and offsets[0] == 0 and offsets[-1] == total and (np.diff(offsets) > 0).all()
        if not is_ordered or mask_total != total or mask_kind != np.dtype("u1"):
            raise ValueError("has arrays that do not fit each other: it is cut or damaged")
        lines.seek(0)
        seen = 0
        for number, (first, last) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
            found = read_line(lines, number, last - first)
            begin = [first + document.span[0] for document in found]
            if documents[seen : seen + len(begin)].tolist() != begin:
                raise ValueError(f"has a .documents.npy that is not of row {number}: it is damaged")
            seen += len(begin)
            yield PackedRow(_next(ids, kind, last - first), _next(loss, mask_kind, last - first), found)
        if seen != len(documents):
            raise ValueError("has a .documents.npy with more documents than its rows: it is damaged")
        check_end(lines, len(offsets) - 1)

    def is_own(self, files: Sequence[BinaryIO | None]) -> bool | None:
        return is_own_file(files[-1])


def _header(dtype: np.dtype[Any], length: int) -> bytes:
    """Return the header of a one-dimensional array in HEADER bytes, as the format of numpy describes it (version 1.0)."""
    text = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': ({length},), }}"
    begin = b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little")
    return begin + text.ljust(HEADER - 11).encode() + b"\n"


def _read_header(file: BinaryIO) -> tuple[np.dtype[Any], int]:
    """Return type and length of an array, and seek to its content; raise ValueError unless it is one that vistok wrote."""
    size = file.seek(0, 2)
    file.seek(0)
    header = file.read(HEADER)
    for dtype in map(np.dtype, ("u1", "<u2", "<i4", "<i8")):
        length = (size - HEADER) // dtype.itemsize
        if size >= HEADER and header == _header(dtype, length) and size == HEADER + length * dtype.itemsize:
            return dtype, length
    raise ValueError("has an array that is cut, damaged, or not of vistok")


def _array(file: BinaryIO) -> np.ndarray:
    dtype, length = _read_header(file)
    if dtype != np.dtype(OFFSETS):
        raise ValueError("has an array that is cut, damaged, or not of vistok")
    return _next(file, dtype, length)


def _next(file: BinaryIO, dtype: np.dtype[Any], length: int) -> np.ndarray:
    values = np.frombuffer(file.read(length * dtype.itemsize), dtype)
    if len(values) < length:
        raise ValueError("has an array that is shorter than it was")
    return values
