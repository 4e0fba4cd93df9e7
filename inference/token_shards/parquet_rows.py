"""The columns of a parquet shard: samples to a table of rows, and its rows back to samples."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .token_samples import StoredSample, TokenSample, is_grid, parse_json

if TYPE_CHECKING:  # of the extra `parquet`, and slow to import
    import pyarrow

METADATA_COLUMNS = {"source": "string", "width": "int32", "height": "int32", "sha256": "string", "view": "string"}
"""Columns of `TokenSample.metadata`, by type; null where it has no such key. All its other keys go into `metadata`, as JSON."""
MARK = b"vistok.token_shard"
"""A key among the metadata of the file, by which a shard of vistok is recognised."""
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")


def schema(dtype: str) -> "pyarrow.Schema":
    """Return the schema of the shards whose tokens have a dtype."""
    import pyarrow as pa

    def listed(element: Any) -> Any:
        return pa.list_(pa.field("element", element))  # the name that the format prescribes

    member = pa.struct([pa.field("extension", pa.string()), pa.field("content", pa.binary())])
    fields = [
        ("key", pa.string()),
        ("tokens", listed(pa.type_for_alias(dtype))),
        ("grid", listed(pa.int32())),
        *((name, pa.type_for_alias(alias)) for name, alias in METADATA_COLUMNS.items()),
        ("metadata", pa.string()),
        ("members", listed(member)),
    ]
    return pa.schema(fields, metadata={MARK: b"1", b"vistok.order": b"tokens are q y x, whose sizes grid has"})


def table(group: Sequence[tuple[TokenSample, dict[str, bytes]]], columns: "pyarrow.Schema") -> "pyarrow.Table":
    """Return the rows of some samples and the contents of their companions by extension."""
    import pyarrow as pa

    samples = [sample for sample, _ in group]
    ends = np.cumsum([0, *(sample.tokens.size for sample in samples)], dtype=np.int32)
    values = pa.array(np.concatenate([sample.tokens.reshape(-1) for sample in samples]))
    kept = [[{"extension": name, "content": content} for name, content in files.items()] for _, files in group]
    content = {
        "key": [sample.key for sample in samples],
        "tokens": pa.ListArray.from_arrays(pa.array(ends), values, type=columns.field("tokens").type),
        "grid": [sample.tokens.shape for sample in samples],
        **{name: [sample.metadata.get(name) for sample in samples] for name in METADATA_COLUMNS},
        "metadata": [_others(sample.metadata) for sample in samples],
        "members": kept,
    }
    return pa.table(content, schema=columns)


def stored_samples(rows: "pyarrow.Table") -> Iterator[StoredSample]:
    """Yield the samples of some rows."""
    columns = {name: rows.column(name).combine_chunks() for name in rows.column_names}
    facts = [*METADATA_COLUMNS, "metadata"]
    for index in range(len(rows)):
        key = columns["key"][index].as_py()
        if key is None:
            raise ValueError(f"has no key in row {index}")
        yield StoredSample(
            key,
            partial(_tokens, columns["tokens"], columns["grid"], index),
            partial(_metadata, {name: columns[name] for name in facts}, index),
            _members(columns["members"], index),
        )


def _others(metadata: dict[str, Any]) -> str | None:
    others = {name: value for name, value in metadata.items() if name not in METADATA_COLUMNS}
    return json.dumps(others) if others else None


def _tokens(tokens: Any, grids: Any, index: int) -> np.ndarray:
    grid, values = grids[index].as_py(), tokens[index].values
    if values is None or values.null_count or not is_grid(grid, len(values)):
        raise ValueError(f"its {0 if values is None else len(values)} tokens do not fill its grid, {grid}")
    return np.array(values).reshape(grid)  # a copy, as the group of rows would stay in memory


def _metadata(columns: dict[str, Any], index: int) -> dict[str, Any] | None:
    values = {name: column[index].as_py() for name, column in columns.items()}
    others = parse_json(values.pop("metadata") or "{}")
    return (
        {name: value for name, value in values.items() if value is not None} | others
        if isinstance(others, dict)
        else None
    )


def _members(column: Any, index: int) -> dict[str, Any]:
    names = [member["extension"].as_py() for member in column[index].values or []]
    return {name: partial(_content, column, index, position) for position, name in enumerate(names) if name is not None}


def _content(column: Any, index: int, position: int) -> bytes:
    content = column[index].values[position]["content"].as_py()
    if content is None:
        raise ValueError("a member has no content")
    return content
