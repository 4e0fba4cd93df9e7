"""Which column of a parquet file has the images, and what its other columns become. Imports pyarrow on demand."""

import importlib.util
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

KEY_COLUMNS = ("__key__", "key")
"""Columns that name the samples: of webdataset's shards in `datasets`, and of img2dataset."""
REASON_COLUMNS = ("error_message", "status")
"""Columns of img2dataset that say why a row has no image."""
BUFFER = 1 << 20
"""Bytes that are read at a time, so that no group of rows is in memory as a whole."""
_EXTENSION = re.compile(r"[^\s/\\]+")


class Columns(NamedTuple):
    """The columns of a file."""

    image: str
    key: str
    """Empty where no column names the samples."""
    others: list[str]


def has_pyarrow() -> bool:
    """Return whether parquet files can be read."""
    return importlib.util.find_spec("pyarrow") is not None


def require_pyarrow(path: str) -> None:
    """Raise ValueError when pyarrow is missing."""
    if not has_pyarrow():
        raise ValueError(
            f"{path} needs the package pyarrow: pip install 'vistok[parquet]', and run the same command again."
        )


def open_table(file: BinaryIO) -> Any:
    """Open a parquet file; raise ValueError when it is none or damaged."""
    import pyarrow.parquet as parquet

    with plain_errors():
        return parquet.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raise ValueError for what pyarrow finds damaged; some of that it calls an OSError, without a number."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(
            f"is not a parquet file, or damaged ({' '.join(str(error).split())[:80]}): repair or leave it out"
        ) from None


def choose_columns(schema: Any, wanted: str) -> Columns:
    """Return the columns of a schema, `wanted` or else the only one that can have images among them; raise ValueError."""
    images = columns_with_bytes(schema)
    named = [name for name in images if name in _image_features(schema)]
    candidates = [wanted] if wanted else (named if len(named) == 1 else images)
    if len(candidates) != 1 or candidates[0] not in images:
        which = f"no column {wanted}" if wanted else f"{len(images)} columns" if images else "no column"
        found = f"{which} with the bytes of images (there are {', '.join(images or schema.names) or 'none'})"
        raise ValueError(f"has {found}: {'name one with --image-column, or ' if images else ''}leave the file out")
    key = next((name for name in KEY_COLUMNS if name in schema.names and _can_be_key(schema.field(name).type)), "")
    return Columns(candidates[0], key, [name for name in schema.names if name not in (candidates[0], key)])


def columns_with_bytes(schema: Any) -> list[str]:
    """Return the columns that can have images."""
    return [field.name for field in schema if _has_bytes(field.type)]


def extension_of(column: str) -> str:
    """Return the extension that a column's values get as companions, or "" when its name cannot be one."""
    return column.strip(".") if _EXTENSION.fullmatch(column) else ""


def _image_features(schema: Any) -> set[str]:
    """Return the columns that `datasets` has noted as images."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return {name for name, feature in features.items() if feature.get("_type") == "Image"}
    except (AttributeError, KeyError, TypeError, ValueError):
        return set()


def _has_bytes(kind: Any) -> bool:
    import pyarrow.types as types

    kind = _plain(kind)
    if types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _has_bytes(kind.field(index).type)
    return (
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    )


def _can_be_key(kind: Any) -> bool:
    import pyarrow.types as types

    kind = _plain(kind)
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_integer(kind)


def _plain(kind: Any) -> Any:
    """Return the type of the values, also of those that are written as a dictionary of the different ones."""
    import pyarrow.types as types

    return kind.value_type if types.is_dictionary(kind) else kind
