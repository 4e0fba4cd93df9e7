"""Read a .safetensors file, mapped into memory."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...tokenizer.wording import shortened
from .mapped_file import DamagedFileError, MappedFile, UnreadKindError

LARGEST = 100_000_000
"""Max bytes of the header, as in the safetensors library."""
DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3": torch.float8_e4m3fn,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F32": torch.float32,
    "F64": torch.float64,
    "I64": torch.int64,
    "U64": torch.uint64,
    "C64": torch.complex64,
}
COMPLEX = "C64"
"""The only type of the format that no tokenizer has."""


class _Entry(NamedTuple):
    dtype: torch.dtype
    shape: list[int]
    start: int


def read_safetensors(path: Path, file: MappedFile) -> dict[str, Tensor]:
    """Return the tensors by name; raise DamagedFileError, which names the first tensor that is cut off, or UnreadKindError."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(LARGEST, file.size):
            raise DamagedFileError("its header is not one of safetensors")
        content = stream.read(length)
    try:
        header = json.loads(content)
        entries = {name: _entry(fields) for name, fields in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DamagedFileError("its header is not one of safetensors") from None
    for name, fields in header.items():
        if name != "__metadata__" and fields["dtype"] == COMPLEX:
            raise UnreadKindError(name, "complex")
    tensors = {}
    for name, entry in entries.items():
        try:
            values = file.values(8 + length + entry.start, math.prod(entry.shape), entry.dtype)
            tensors[name] = values.reshape(entry.shape)
        except DamagedFileError:
            missing = f"it is cut short: it has {file.size} bytes, and {shortened(name)} is beyond them"
            raise DamagedFileError(missing) from None
        except (RuntimeError, OverflowError, TypeError):  # without values, but of sizes beyond an int64
            raise DamagedFileError(f"{shortened(name)} has no proper shape") from None
    return tensors


def _entry(fields: dict[str, Any]) -> _Entry:
    start, end = fields["data_offsets"]
    entry = _Entry(DTYPES[fields["dtype"]], fields["shape"], start)
    if not all(type(number) is int and number >= 0 for number in (start, end, *entry.shape)):
        raise ValueError
    if end - start != math.prod(entry.shape) * entry.dtype.itemsize:
        raise ValueError
    return entry
