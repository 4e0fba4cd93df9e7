"""The parquet format: one file with a row per image, which `datasets`, pandas, duckdb and all else that reads tables reads."""

import importlib.util
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

from .members import read_members
from .parquet_rows import MARK, UNSIGNED, schema, stored_samples, table
from .token_samples import StoredSample, TokenSample

MAGIC = b"PAR1"
GROUP_ROWS = 1000
GROUP_BYTES = 16 << 20
"""Bytes of tokens and members after which a group of rows ends: what is in memory while a shard is written or read."""
MAX_VALUES = 1 << 28
"""Values of a column in the largest group that is read back: a damaged file may promise any number."""
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
        import pyarrow.parquet as parquet

        with _plain_errors():
            shard = parquet.ParquetFile(files[0], page_checksum_verification=True)
            if not any(shard.schema_arrow.equals(schema(dtype)) for dtype in UNSIGNED):
                raise ValueError("is not a table of tokens that vistok wrote")
        for index in range(shard.num_row_groups):
            with _plain_errors():
                _check_size(shard.metadata.row_group(index))
                rows = shard.read_row_group(index)
            yield from stored_samples(rows)

    def is_own(self, files: Sequence[BinaryIO | None]) -> bool | None:
        footer = _footer(files[0]) if files[0] is not None else None
        return None if footer is None else MARK in footer


def _writer(parquet: Any, file: BinaryIO, columns: Any) -> Any:
    """Open a writer with all that decides the bytes, whatever is usual in a version of pyarrow."""
    return parquet.ParquetWriter(
        file,
        columns,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=3,
        use_dictionary=True,
        write_statistics=["key", "width", "height"],
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


def _check_size(group: Any) -> None:
    values = max((group.column(index).num_values for index in range(group.num_columns)), default=0)
    if values > MAX_VALUES:
        raise ValueError(f"has a group of rows with {values:,} values, more than any that vistok writes")


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Raise ValueError for what pyarrow finds damaged; some of that it calls an OSError, without a number."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"is not a parquet file, or damaged ({' '.join(str(error).split())[:80]})") from None


def _footer(file: BinaryIO) -> bytes | None:
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
