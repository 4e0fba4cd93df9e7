"""The index of Megatron-LM's IndexedDataset: which tokens of a `.bin` are a sequence, and which sequences a document.

All numbers are little-endian: 9 bytes of magic; the version, uint64; the code of the tokens' type, one byte; the numbers of
sequences and of document ends, uint64 each; the length of each sequence in tokens, int32; where it begins in the `.bin` in
bytes, int64; and the sequences at which documents begin, and at last how many there are, int64. Read from
megatron/core/datasets/indexed_dataset.py of megatron-core 0.16.
"""

import os
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

MAGIC = b"MMIDIDX\0\0"
VERSION = 1
CODES = {"uint8": 1, "int32": 4, "int64": 5, "uint16": 8}
"""Codes of the types of tokens that vistok writes."""
HEADER = struct.Struct("<9sQBQQ")
SEQUENCE_BYTES = 4 + 8 + 8
"""Bytes of a sequence that is a document."""


class SequenceIndex(NamedTuple):
    """The sequences of a `.bin`, one after another."""

    dtype: np.dtype[Any]
    lengths: np.ndarray
    """Tokens of each, int32."""
    pointers: np.ndarray
    """First byte of each, int64."""


def write_index(file: BinaryIO, dtype: str, lengths: Sequence[int]) -> None:
    """Write the index of sequences that follow one another, each a document."""
    count, size = len(lengths), np.dtype(dtype).itemsize
    file.write(HEADER.pack(MAGIC, VERSION, CODES[dtype], count, count + 1))
    ends = np.cumsum([0, *lengths], dtype="<i8")
    file.write(np.array(lengths, "<i4").tobytes())
    file.write((ends[:-1] * size).tobytes())
    file.write(np.arange(count + 1, dtype="<i8").tobytes())


def read_index(file: BinaryIO, bin_size: int) -> SequenceIndex:
    """Read an index; raise ValueError, before memory is taken, unless it is one that vistok wrote for a `.bin` of this size."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    header = file.read(HEADER.size)
    if len(header) < HEADER.size or not header.startswith(MAGIC):
        raise ValueError("has an .idx that is not the index of an IndexedDataset")
    _, version, code, count, ends = HEADER.unpack(header)
    names = {code: name for name, code in CODES.items()}
    if version != VERSION or code not in names:
        raise ValueError(
            f"has an .idx of version {version} with the type of tokens {code}, which vistok does not write"
        )
    if ends != count + 1 or size != HEADER.size + SEQUENCE_BYTES * count + 8:
        raise ValueError(
            f"has an .idx of {size:,} bytes for {count:,} images and {ends:,} document ends: it is cut or damaged"
        )
    dtype = np.dtype(names[code]).newbyteorder("<")
    lengths = np.frombuffer(file.read(4 * count), "<i4")
    pointers = np.frombuffer(file.read(8 * count), "<i8")
    documents = np.frombuffer(file.read(8 * ends), "<i8")
    expected = np.cumsum([0, *lengths], dtype=np.int64) * dtype.itemsize
    if (
        (lengths < 1).any()
        or not np.array_equal(pointers, expected[:-1])
        or not np.array_equal(documents, np.arange(ends))
    ):
        raise ValueError("has an .idx whose sequences do not follow one another: it is damaged")
    if expected[-1] != bin_size:
        raise ValueError(f"has a .bin of {bin_size:,} bytes, but an .idx of {expected[-1]:,}: it is cut or damaged")
    return SequenceIndex(dtype, lengths, pointers)
