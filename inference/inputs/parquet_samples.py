"""The samples of a parquet file with the bytes of images, as `datasets` and img2dataset write them; its rows are streamed."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...images.file_entry import Readable, printable
from ...images.remote_entry import HeldEntry
from ...images.tars.blocks import DamagedShard
from ...tokenizer.retries import StillFailingError
from .companions import Keep
from .input_files import digest, file_state, open_input
from .keys import UniqueKeys, given_key, name_key
from .parquet_cell import ParquetCell
from .parquet_columns import (
    REASON_COLUMNS,
    Columns,
    choose_columns,
    columns_with_bytes,
    extension_of,
    open_table,
    plain_errors,
)
from .parquet_values import content_of, plain_values, text_of
from .samples import Companion, Listing, Sample

ROWS = 16
"""Rows that are read at a time."""
HELD = 1 << 14
"""Bytes of a companion that is kept in memory until its shard is written; a larger one is read again then."""


@dataclass(frozen=True)
class ParquetSource:
    """A parquet file whose rows become one shard."""

    path: str
    name: str
    keep: Keep
    image_column: str = ""
    """Empty for the only one that can have images."""

    def list_samples(self) -> Listing:
        """List the rows; one without an image has a problem, and the values of columns are companions or passed over."""
        rows = _Rows(self)
        return Listing(rows.samples(), rows.passed_over, rows.fraction)

    def digest(self) -> str:
        return digest([file_state(self.path, self.name)])


def check_columns(path: str, image_column: str) -> None:
    """Raise ValueError when a whole parquet file has not one column of images, OSError when it cannot be read."""
    schema = _schema(path)
    try:
        if schema is not None:  # damage is of the file, not of the call
            choose_columns(schema, image_column)
    except ValueError as error:
        raise ValueError(f"{printable(path)} {error}.") from None


def has_no_images(path: str) -> bool:
    """Return whether a whole parquet file has no column that could have images; raise OSError when a store is silent."""
    try:
        schema = _schema(path)
    except StillFailingError:
        raise
    except OSError:  # reading its rows reports why
        return False
    return schema is not None and not columns_with_bytes(schema)


def _schema(path: str) -> Any:
    """Return the columns of a parquet file, or None when it is damaged; raise OSError when it cannot be read."""
    with open_input(path) as file:
        try:
            with open_table(file) as table:
                return table.schema_arrow
        except ValueError:
            return None


class _Rows:
    """The rows of a file, once; knows how far it is."""

    def __init__(self, source: ParquetSource):
        self.passed_over: Counter[str] = Counter()
        self._source = source
        self._keys = UniqueKeys()
        self._done = 0
        self._rows = 1

    def fraction(self) -> float:
        """Return which fraction of the rows has been listed."""
        return min(1.0, max(self._done, 1) / max(self._rows, 1))

    def samples(self) -> Iterator[Sample]:
        """Yield a sample per row; raise DamagedShard and OSError."""
        try:
            with open_input(self._source.path) as file, open_table(file) as table:
                columns = choose_columns(table.schema_arrow, self._source.image_column)
                self._rows = table.metadata.num_rows
                yield from self._of_table(table, columns)
        except ValueError as error:
            raise DamagedShard(f"{printable(self._source.path)} {error}.") from None

    def _of_table(self, table: Any, columns: Columns) -> Iterator[Sample]:
        keeps = self._source.keep.keeps_member
        kept = {name: extension for name, extension in _extensions(columns.others).items() if keeps(extension)}
        reasons = [name for name in columns.others if name in REASON_COLUMNS]
        read = list(dict.fromkeys([columns.image, *filter(None, [columns.key]), *kept, *reasons]))
        for group in range(table.num_row_groups):
            batches = table.iter_batches(ROWS, row_groups=[group], columns=read, use_threads=False)
            for index, row in enumerate(_rows(batches)):
                self._done += 1
                yield self._sample(row, columns, _companions(self._source.path, row, kept, group, index))
        others = [name for name in columns.others if name not in kept]
        self.passed_over.update({f"column {name}": self._done for name in others if self._done})

    def _sample(self, row: dict[str, Any], columns: Columns, companions: list[Companion]) -> Sample:
        value = row[columns.image]
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        named = row[columns.key] if columns.key else None
        text = "" if named is None else printable(text_of(named))
        source = printable(text_of(path)) if path else text or f"row {self._done - 1}"
        key = given_key(text) or (given_key(name_key(os.path.basename(source))) if path else "")
        key = self._keys.add(key or f"{self._done - 1:08}")
        if content is None:
            reasons = [printable(text_of(row[name])) for name in REASON_COLUMNS if row.get(name)]
            return Sample(
                key,
                source,
                None,
                f"has no bytes in its row ({', '.join(reasons)})" if reasons else "has no bytes in its row",
            )
        return Sample(key, source, HeldEntry(content, source), companions=companions)


def _extensions(columns: list[str]) -> dict[str, str]:
    """Return the extensions of the columns that can have one; the first of those that differ in nothing but case, or a dot."""
    first: dict[str, str] = {}
    for name in columns:
        if extension := extension_of(name):
            first.setdefault(extension.lower(), name)  # webdataset reads extensions in lower case
    return {name: extension_of(name) for name in first.values()}


def _rows(batches: Iterator[Any]) -> Iterator[dict[str, Any]]:
    while True:
        with plain_errors():
            batch = next(batches, None)
        if batch is None:
            return
        columns = list(map(plain_values, batch.columns))
        yield from (dict(zip(batch.schema.names, row, strict=True)) for row in zip(*columns, strict=True))


def _companions(path: str, row: dict[str, Any], kept: dict[str, str], group: int, index: int) -> list[Companion]:
    companions = []
    for column, extension in kept.items():
        if row[column] is not None:
            content = content_of(row[column])
            entry: Readable = HeldEntry(content, column)
            if len(content) > HELD:
                entry = ParquetCell(path, group, index, column, len(content), column)
            companions.append(Companion(extension, entry))
    return companions
