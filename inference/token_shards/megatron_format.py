"""The format of Megatron-LM, NeMo and datatrove: NAME.bin with the tokens, NAME.idx with its index, NAME.jsonl with the rest.

An image is a sequence, and a document of its own. Its tokens are in raster order, with those of all codebooks together at each
position (`y x q`), as the layout `raster` has them; ids of a vocabulary are for the trainer to make.
"""

import base64
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from einops import rearrange

from .megatron_index import SequenceIndex, read_index, write_index
from .members import read_members
from .token_samples import StoredSample, TokenSample, is_grid, parse_json

MARK = b'{"vistok": "megatron"'
"""How each line of the .jsonl begins, by which a shard of vistok is recognised."""
WRITTEN_AS = {"uint8": "uint16", "uint16": "uint16", "uint32": "int32", "uint64": "int64"}
"""The type in the .bin by that of the tokens: Megatron-LM knows no uint32."""
MAX_LINE = 1 << 30
"""Bytes of the longest line that is read back."""


class MegatronFormat:
    """Shards that IndexedDataset reads. Line i of the .jsonl describes sequence i."""

    suffixes = (".bin", ".idx", ".jsonl")

    def require(self) -> None:
        """Do nothing: it needs no other package."""

    def write(self, files: Sequence[BinaryIO], samples: Iterable[TokenSample]) -> None:
        tokens, index, lines = files
        lengths: list[int] = []
        dtype = "uint16"
        for sample in samples:
            dtype = WRITTEN_AS[sample.tokens.dtype.name]
            values = rearrange(sample.tokens, "q y x -> (y x q)")
            if int(values.max()) > np.iinfo(dtype).max:
                raise ValueError(
                    f"Codes above {np.iinfo(dtype).max:,} do not fit into a .bin of Megatron-LM: use --format wds or parquet."
                )
            tokens.write(values.astype(np.dtype(dtype).newbyteorder("<")).tobytes())
            lengths.append(values.size)
            lines.write(_line(sample))
        write_index(index, dtype, lengths)

    def read(self, files: Sequence[BinaryIO]) -> Iterator[StoredSample]:
        tokens, index, lines = files
        sequences = read_index(index, tokens.seek(0, os.SEEK_END))
        for number, (_, row) in enumerate(_rows(lines, len(sequences.lengths))):
            yield _sample(tokens, sequences, number, row)

    def scan(self, files: Sequence[BinaryIO]) -> Iterator[tuple[str, int]]:
        tokens, index, lines = files
        sequences = read_index(index, tokens.seek(0, os.SEEK_END))
        return ((row["key"], place) for place, row in _rows(lines, len(sequences.lengths)))

    def open_rows(self, files: Sequence[BinaryIO]) -> Callable[[int, int], StoredSample]:
        tokens, index, lines = files
        sequences = read_index(index, tokens.seek(0, os.SEEK_END))

        def read_row(number: int, place: int) -> StoredSample:
            lines.seek(place)
            return _sample(tokens, sequences, number, _row(lines, number))

        return read_row

    def is_own(self, files: Sequence[BinaryIO | None]) -> bool | None:
        tokens, index, lines = files
        if lines is None:  # it is put in its place before the others
            return None if tokens is None and index is None else False
        try:
            begin = lines.read(len(MARK))
        except OSError:
            return None
        return None if MARK.startswith(begin.rstrip(b"\0")) and begin != MARK else begin == MARK


def _rows(lines: BinaryIO, count: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield where each line begins, and what it says."""
    lines.seek(0)
    for number in range(count):
        yield lines.tell(), _row(lines, number)
    if lines.read(1):
        raise ValueError(f"has a .jsonl with more lines than the {count:,} of its .idx: it is damaged")


def _row(lines: BinaryIO, number: int) -> dict[str, Any]:
    row = parse_json(line) if (line := lines.readline(MAX_LINE)).endswith(b"\n") else None
    if not isinstance(row, dict) or not isinstance(row.get("key"), str):
        raise ValueError(f"has a .jsonl whose line {number + 1} describes no image: it is cut or damaged")
    return row


def _sample(tokens: BinaryIO, sequences: SequenceIndex, number: int, row: dict[str, Any]) -> StoredSample:
    read_tokens = partial(_tokens, tokens, sequences, number, row)
    return StoredSample(row["key"], read_tokens, partial(row.get, "metadata"), _members(row))


def _line(sample: TokenSample) -> bytes:
    texts: dict[str, str] = {}
    binary: dict[str, str] = {}
    for extension, content in read_members(sample).items():
        try:
            texts[extension] = content.decode()
        except UnicodeDecodeError:
            binary[extension] = base64.b64encode(content).decode()
    row = {
        "vistok": "megatron",
        "key": sample.key,
        "grid": sample.tokens.shape,
        "dtype": sample.tokens.dtype.name,
        "metadata": sample.metadata,
        "members": texts,
        "base64_members": binary,
    }
    return json.dumps(row).encode() + b"\n"


def _tokens(file: BinaryIO, sequences: SequenceIndex, number: int, row: dict[str, Any]) -> np.ndarray:
    dtype, count = str(row.get("dtype")), int(sequences.lengths[number])
    grid = row.get("grid")
    if not is_grid(grid, count) or WRITTEN_AS.get(dtype) != sequences.dtype.name:
        raise ValueError(f"its {count} tokens of {sequences.dtype.name} are not {dtype} {grid}, as its line says")
    file.seek(int(sequences.pointers[number]))
    values = np.frombuffer(file.read(count * sequences.dtype.itemsize), sequences.dtype)
    if len(values) < count or values.min() < 0 or values.max() > np.iinfo(dtype).max:
        raise ValueError(f"its tokens are cut, or no {dtype}")
    q, y, x = grid
    return rearrange(values, "(y x q) -> q y x", y=y, x=x, q=q).astype(dtype)


def _members(row: dict[str, Any]) -> dict[str, Any]:
    texts, binary = row.get("members"), row.get("base64_members")
    if not isinstance(texts, dict) or not isinstance(binary, dict):
        return {}
    encoded = {name: partial(str.encode, text) for name, text in texts.items() if isinstance(text, str)}
    decoded = {
        name: partial(base64.b64decode, text, validate=True) for name, text in binary.items() if isinstance(text, str)
    }
    return encoded | decoded
