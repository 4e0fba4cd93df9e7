"""A value of a parquet file that is read when it is needed, since it is too large to wait in memory."""

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

from .input_files import open_input
from .parquet_columns import open_table, plain_errors
from .parquet_values import content_of, plain_value


@dataclass(frozen=True, slots=True)
class ParquetCell:
    """A large value of a parquet file, which is read when it is needed."""

    path: str
    group: int
    row: int
    """Within its group of rows."""
    column: str
    size: int
    name: str

    def read(self) -> bytes:
        """Return the bytes; raise OSError when they cannot be read or have changed."""
        content = content_of(plain_value(_column(self.path, self.group, self.column)[self.row]))
        if len(content) != self.size:
            raise OSError(f"{self.path} has changed")
        return content

    def open(self) -> BinaryIO:
        """Open the bytes as a seekable file; raise OSError as `read` does."""
        return io.BytesIO(self.read())


@lru_cache(maxsize=2)
def _column(path: str, group: int, column: str) -> Any:
    try:
        with open_input(path) as file, open_table(file) as table, plain_errors():
            return table.read_row_group(group, columns=[column], use_threads=False).column(column)
    except ValueError as error:
        raise OSError(f"{path} {error}") from None
