"""The parquet format: one file with a row per image, which `datasets`, pandas, duckdb and all else that reads tables reads."""

import importlib.util
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, BinaryIO

from .members import read_members
from .parquet_groups import TableKind, is_as_written, open_table, read_group
from .parquet_rows import MARK, UNSIGNED, schema, stored_samples, table
from .token_samples import StoredSample, TokenSample

MAGIC = b"PAR1"
GROUP_ROWS = 1000
GROUP_BYTES = 16 << 20
"""Bytes of tokens and members after which a group of rows ends: what is in memory while a shard is written or read."""
KIND = TableKind("a table of tokens", schema, UNSIGNED, compression="ZSTD", measured=["key", "width", "height"])
EMPTY_DTYPE = "uint16"
"""Of the tokens of a shard without images."""


class ParquetFormat:
    """Shards that are tables. The bytes depend on the samples and on the version of pyarrow, which the file names."""

    suffixes = (".parquet",)

    def require(self) -> None:
        if importlib.util.find_spec("pyarrow") is None:
            raise ValueError("Parquet shards need the package pyarrow: pip install '.[parquet]' in vistok's checkout.")

    def write(self, files: Sequence[BinaryIO], samples: Iterable[TokenSample]) -> None:
        import pyarrow.parquet as parquet

        writer: Any = None
        for group in _groups(samples):
            columns = schema(group[0][0].tokens.dtype.name)
            writer = writer or _writer(parquet, files[0], columns)
            writer.write_table(table(group, columns), row_group_size=GROUP_ROWS)
        (writer or _writer(parquet, files[0], schema(EMPTY_DTYPE))).close()

    def read(self, files: Sequence[BinaryIO]) -> Iterator[StoredSample]:
        shard = open_table(files[0], KIND)
        for index in range(shard.num_row_groups):
            yield from stored_samples(read_group(shard, index))

    def scan(self, files: Sequence[BinaryIO]) -> Iterator[tuple[str, int]]:
        shard = open_table(files[0], KIND)
        keys = (key for index in range(shard.num_row_groups) for key in read_group(shard, index, ["key"]).column("key"))
        for number, key in enumerate(keys):
            if key.as_py() is None:
                raise ValueError(f"has no key in row {number}")
            yield key.as_py(), number

    def open_rows(self, files: Sequence[BinaryIO]) -> Callable[[int, int], StoredSample]:
        shard = open_table(files[0], KIND)
        sizes = [shard.metadata.row_group(index).num_rows for index in range(shard.num_row_groups)]
        ends = list(accumulate(sizes))
        in_memory: dict[int, Any] = {}  # the group that was read last

        def read_row(number: int, _: int) -> StoredSample:
            index = bisect_right(ends, number)
            if index not in in_memory:
                in_memory.clear()
                in_memory[index] = read_group(shard, index)
            row = number - ends[index] + sizes[index]
            return next(stored_samples(in_memory[index].slice(row, 1)))

        return read_row

    def is_own(self, files: Sequence[BinaryIO | None]) -> bool | None:
        (file,) = files
        found = footer(file) if file is not None else None
        if file is None or found is None:
            return None
        # Other programs keep the mark when they make another table of a shard.
        return MARK in found and is_as_written(file, KIND)


def _writer(parquet: Any, file: BinaryIO, columns: Any) -> Any:
    """Open a writer with all that decides the bytes, whatever is usual in a version of pyarrow."""
    return parquet.ParquetWriter(
        file,
        columns,
        version="2.6",
        data_page_version="1.0",
        compression=KIND.compression,
        compression_level=3,
        use_dictionary=True,
        write_statistics=KIND.measured,
        write_page_checksum=True,
        store_schema=True,
    )


def _groups(samples: Iterable[TokenSample]) -> Iterator[list[tuple[TokenSample, dict[str, bytes]]]]:
    """Yield the samples in groups of rows, with the contents of their companions."""
    group: list[tuple[TokenSample, dict[str, bytes]]] = []
    size = 0
    for sample in samples:
        if len(group) == GROUP_ROWS or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
        members = read_members(sample)
        group.append((sample, members))
        size += sample.tokens.nbytes + sum(map(len, members.values()))
    if group:
        yield group


def footer(file: BinaryIO) -> bytes | None:
    """Return the footer of a parquet file, or None for any other."""
    try:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8))
        end = file.read(8)
        length = int.from_bytes(end[:4], "little")
        if end[4:] != MAGIC or not 0 < length <= size - 12:
            return None
        file.seek(size - 8 - length)
        return file.read(length)
    except OSError:
        return None
