"""The groups of rows of a parquet shard, read one at a time."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from .parquet_rows import UNSIGNED, schema

MAX_VALUES = 1 << 28
"""Values of a column in the largest group that is read back: a damaged file may promise any number."""


class NotATableOfTokens(ValueError):
    """A whole table has other columns."""


def open_table(file: BinaryIO) -> Any:
    """Open a shard; raise ValueError for any other file, and OSError."""
    import pyarrow.parquet as parquet

    with _plain_errors():
        # pyarrow's threads may still let go of what they read when Python ends, which aborts the process: none is used.
        shard = parquet.ParquetFile(file, page_checksum_verification=True, pre_buffer=False)
        if not any(shard.schema_arrow.equals(schema(dtype)) for dtype in UNSIGNED):
            raise NotATableOfTokens("is not a table of tokens that vistok wrote")
    return shard


def is_as_written(file: BinaryIO, compression: str, measured: Collection[str]) -> bool | None:
    """Return whether a table has the columns and the encoding of a shard, with statistics of the `measured` columns alone.

    Returns None for a damaged one, and where pyarrow is missing.
    """
    try:
        shard = open_table(file)
    except NotATableOfTokens:
        return False
    except (ImportError, ValueError, OSError):
        return None
    groups = [shard.metadata.row_group(index) for index in range(shard.num_row_groups)]
    chunks = [group.column(index) for group in groups for index in range(group.num_columns)]
    is_encoded = all(
        chunk.compression == compression and (chunk.statistics is not None) == (chunk.path_in_schema in measured)
        for chunk in chunks
    )
    return is_encoded and any(shard.schema_arrow.equals(schema(dtype), check_metadata=True) for dtype in UNSIGNED)


def read_group(shard: Any, index: int, columns: list[str] | None = None) -> Any:
    """Read a group of rows, all of its columns or some; raise ValueError when it is damaged, and OSError."""
    with _plain_errors():
        _check_size(shard.metadata.row_group(index))
        return shard.read_row_group(index, columns, use_threads=False)


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
