"""The values of a parquet file as Python has them, and as the content of files. Imports pyarrow on demand."""

import base64
import json
import math
from typing import Any


def plain_values(column: Any) -> list[Any]:
    """Return the values of a column; what Python has no value for does not keep the others from coming."""
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):
        return list(map(plain_value, column))


def plain_value(scalar: Any) -> Any:
    """Return a value, with text that is not UTF-8 as its bytes; a time too fine or far for Python stays pyarrow's."""
    import pyarrow as pa

    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        if isinstance(scalar, pa.DictionaryScalar):
            return plain_value(scalar.value)
        if isinstance(scalar, pa.StructScalar):
            return {name: plain_value(value) for name, value in scalar.items()}
        if isinstance(scalar, pa.ListScalar):
            return list(map(plain_value, scalar.values))
        return scalar.as_buffer().to_pybytes() if isinstance(scalar, pa.BinaryScalar) else scalar.cast(pa.string())


def text_of(value: Any) -> str:
    """Return a value as text; bytes that are not UTF-8 as those of file names."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def content_of(value: Any) -> bytes:
    """Return a value as the content of a file: text and bytes as they are, the bytes of images, and all else as JSON.

    In JSON bytes are base64, NaN and infinities are the strings NaN, Infinity and -Infinity, and times are text.
    """
    if isinstance(value, dict) and isinstance(value.get("bytes"), bytes):
        value = value["bytes"]
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else _json(value)).encode()


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_encoded)
    except ValueError:  # JSON has no NaN
        return json.dumps(_with_names(value), ensure_ascii=False, default=_encoded)


def _encoded(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _with_names(value: Any) -> Any:
    """Return a value with the names of numbers that are not finite."""
    if isinstance(value, dict):
        return {name: _with_names(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_with_names, value))
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
