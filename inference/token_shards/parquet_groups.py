"""The groups of rows of a parquet shard, read one at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from .parquet_rows import UNSIGNED, schema

MAX_VALUES = 1 << 28
"""Values of a column in the largest group that is read back: a damaged file may promise any number."""


def open_table(file: BinaryIO) -> Any:
    """Open a shard; raise ValueError for any other file, and OSError."""
    import pyarrow.parquet as parquet

    with plain_errors():
        # pyarrow's threads may still let go of what they read when Python ends, which aborts the process: none is used.
        shard = parquet.ParquetFile(file, page_checksum_verification=True, pre_buffer=False)
        if not any(shard.schema_arrow.equals(schema(dtype)) for dtype in UNSIGNED):
            raise ValueError("is not a table of tokens that vistok wrote")
    return shard


def read_group(shard: Any, index: int, columns: list[str] | None = None) -> Any:
    """Read a group of rows, all of its columns or some; raise ValueError when it is damaged, and OSError."""
    with plain_errors():
        check_size(shard.metadata.row_group(index))
        return shard.read_row_group(index, columns, use_threads=False)


def check_size(group: Any) -> None:
    """Raise ValueError for a group of rows that is larger than any that vistok writes."""
    values = max((group.column(index).num_values for index in range(group.num_columns)), default=0)
    if values > MAX_VALUES:
        raise ValueError(f"has a group of rows with {values:,} values, more than any that vistok writes")


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raise ValueError for what pyarrow finds damaged; some of that it calls an OSError, without a number."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"is not a parquet file, or damaged ({' '.join(str(error).split())[:80]})") from None
