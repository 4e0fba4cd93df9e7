"""Tables of a kind, and their groups of rows, read one at a time."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

MAX_VALUES = 1 << 28
"""Values of a column in the largest group that is read back: a damaged file may promise any number."""


class NotOurTable(ValueError):
    """A whole table has other columns."""


class TableKind(NamedTuple):
    """What decides the bytes of a kind of tables."""

    title: str
    schema: Callable[[str], Any]
    """The schema, by the type of its tokens or ids."""
    types: Collection[str]
    compression: str
    measured: Collection[str]
    """Columns with statistics."""


def open_table(file: BinaryIO, kind: TableKind) -> Any:
    """Open a table of a kind; raise ValueError for any other file, and OSError."""
    import pyarrow.parquet as parquet

    with plain_errors():
        # pyarrow's threads may still let go of what they read when Python ends, which aborts the process: none is used.
        table = parquet.ParquetFile(file, page_checksum_verification=True, pre_buffer=False)
        if not any(table.schema_arrow.equals(kind.schema(dtype)) for dtype in kind.types):
            raise NotOurTable(f"is not {kind.title} that vistok wrote")
    return table


def is_as_written(file: BinaryIO, kind: TableKind) -> bool | None:
    """Return whether a table has the columns, the metadata and the encoding of a kind.

    Returns None for a damaged one, and where pyarrow is missing.
    """
    try:
        table = open_table(file, kind)
    except NotOurTable:
        return False
    except (ImportError, ValueError, OSError):
        return None
    groups = [table.metadata.row_group(index) for index in range(table.num_row_groups)]
    chunks = [group.column(index) for group in groups for index in range(group.num_columns)]
    is_encoded = all(
        chunk.compression == kind.compression
        and (chunk.statistics is not None) == (chunk.path_in_schema in kind.measured)
        for chunk in chunks
    )
    schemas = map(kind.schema, kind.types)
    return is_encoded and any(table.schema_arrow.equals(schema, check_metadata=True) for schema in schemas)


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
