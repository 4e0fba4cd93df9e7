"""A table with a row a sequence, which `datasets`, pandas and the packed datasets of Megatron-Bridge read.

The columns `input_ids`, `loss_mask` and `seq_start_id` are named as Megatron-Bridge names them; `keys` and `documents` say
which images are in a row.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..token_shards.parquet_format import ParquetFormat, footer
from ..token_shards.parquet_groups import TableKind, is_as_written, open_table, read_group
from .rows import PackedRow, documents_from_json, documents_to_json

if TYPE_CHECKING:  # of the extra `parquet`, and slow to import
    import pyarrow

MARK = b"vistok.packed_shard"
"""A key among the metadata of the file, by which a shard of vistok is recognised."""
TYPES = ("int32", "uint16")
"""Of ids."""
GROUP_ROWS = 1000
GROUP_IDS = 4 << 20
"""Ids after which a group of rows ends: what is in memory while a shard is written or read."""


class PackedParquetFormat:
    """Shards that are tables. The bytes depend on the rows and on the version of pyarrow, which the file names."""

    suffixes = (".parquet",)

    def require(self) -> None:
        ParquetFormat().require()

    def write(self, files: Sequence[BinaryIO], rows: Iterable[PackedRow], dtype: str) -> None:
        import pyarrow.parquet as parquet

        columns = _schema(dtype)
        writer = parquet.ParquetWriter(
            files[0],
            columns,
            version="2.6",
            data_page_version="1.0",
            compression=KIND.compression,
            compression_level=3,
            use_dictionary=["loss_mask.list.element", "seq_start_id.list.element"],
            write_statistics=False,
            write_page_checksum=True,
            store_schema=True,
        )
        for group in _groups(rows):
            writer.write_table(_table(group, columns), row_group_size=GROUP_ROWS)
        writer.close()

    def read(self, files: Sequence[BinaryIO]) -> Iterator[PackedRow]:
        shard = open_table(files[0], KIND)
        for index in range(shard.num_row_groups):
            group = read_group(shard, index)
            yield from _rows({name: group.column(name).combine_chunks() for name in group.column_names}, len(group))

    def is_own(self, files: Sequence[BinaryIO | None]) -> bool | None:
        (file,) = files
        found = footer(file) if file is not None else None
        if file is None or found is None:
            return None
        # Other programs keep the mark when they make another table of a shard.
        return MARK in found and is_as_written(file, KIND)


def _schema(dtype: str) -> "pyarrow.Schema":
    import pyarrow as pa

    def listed(element: Any) -> Any:
        return pa.list_(pa.field("element", element))  # the name that the format prescribes

    fields = [
        ("input_ids", listed(pa.type_for_alias(dtype))),
        ("loss_mask", listed(pa.uint8())),
        ("seq_start_id", listed(pa.int32())),
        ("keys", listed(pa.string())),
        ("documents", pa.string()),
    ]
    return pa.schema(fields, metadata={MARK: b"1"})


KIND = TableKind("a table of packed sequences", _schema, TYPES, compression="ZSTD", measured=())


def _groups(rows: Iterable[PackedRow]) -> Iterator[list[PackedRow]]:
    group: list[PackedRow] = []
    size = 0
    for row in rows:
        if len(group) == GROUP_ROWS or size >= GROUP_IDS:
            yield group
            group, size = [], 0
        group.append(row)
        size += row.ids.size
    if group:
        yield group


def _table(rows: Sequence[PackedRow], columns: "pyarrow.Schema") -> "pyarrow.Table":
    import pyarrow as pa

    ends = pa.array(np.cumsum([0, *(row.ids.size for row in rows)], dtype=np.int32))

    def joined(name: str, parts: list[np.ndarray]) -> Any:
        return pa.ListArray.from_arrays(ends, pa.array(np.concatenate(parts)), type=columns.field(name).type)

    content = {
        "input_ids": joined("input_ids", [row.ids for row in rows]),
        "loss_mask": joined("loss_mask", [row.loss for row in rows]),
        "seq_start_id": [[document.span[0] for document in row.documents] for row in rows],
        "keys": [[document.key for document in row.documents] for row in rows],
        "documents": [documents_to_json(row.documents) for row in rows],
    }
    return pa.table(content, schema=columns)


def _rows(columns: dict[str, Any], count: int) -> Iterator[PackedRow]:
    for number in range(count):
        ids, loss = (_values(columns[name], number) for name in ("input_ids", "loss_mask"))
        documents = documents_from_json(columns["documents"][number].as_py() or "", len(ids))
        starts, keys = (columns[name][number].as_py() for name in ("seq_start_id", "keys"))
        if starts != [document.span[0] for document in documents] or keys != [document.key for document in documents]:
            raise ValueError(f"has other documents in row {number} than its columns seq_start_id and keys say")
        if len(loss) != len(ids):
            raise ValueError(f"has {len(ids):,} ids and {len(loss):,} values of a loss mask in row {number}")
        yield PackedRow(ids, loss, documents)


def _values(column: Any, number: int) -> np.ndarray:
    values = column[number].values
    if values is None or values.null_count or not len(values):
        raise ValueError(f"has no ids or no loss mask in row {number}")
    return np.array(values)
