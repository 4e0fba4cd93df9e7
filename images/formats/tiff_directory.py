"""The first directory (IFD) of a TIFF file or of EXIF data, read as far as it is intact."""

import struct
from typing import BinaryIO, NamedTuple

INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}
"""Letters of module struct for the integer types of TIFF."""
MAX_VALUES = 16
"""Longer fields, such as the offsets of strips, are left to the decoder."""
MAX_OFFSET = 1 << 63


class Field(NamedTuple):
    """An entry of a directory."""

    tag: int
    kind: int
    """TIFF's code of the type."""
    length: int
    """Number of values."""
    value: bytes
    """The values, or their offset in the file when they do not fit."""


class Directory(NamedTuple):
    """The first directory of a TIFF file; when a tag is repeated, the last field counts."""

    order: str
    """Byte order, < or > as in module struct."""
    wide: bool
    """Whether it is a BigTIFF, with 64-bit offsets."""
    start: int
    fields: dict[int, Field]


def read_directory(file: BinaryIO) -> Directory | None:
    """Return the first directory of a TIFF file as far as it is intact, or None when there is none."""
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return None
    wide = 43 in head[2:4]
    if wide and len(head) < 16:
        return None
    (start,) = struct.unpack(order + ("Q" if wide else "I"), head[8:16] if wide else head[4:8])
    if start >= MAX_OFFSET:
        return None
    file.seek(start)
    counter = file.read(8 if wide else 2)
    if len(counter) < (8 if wide else 2):
        return None
    (count,) = struct.unpack(order + ("Q" if wide else "H"), counter)
    entry = struct.Struct(order + ("HHQ8s" if wide else "HHI4s"))
    content = file.read(min(count, 65535) * entry.size)
    intact = len(content) // entry.size * entry.size
    fields = {tag: Field(tag, *rest) for tag, *rest in entry.iter_unpack(content[:intact])}
    return Directory(order, wide, start, fields)


def value_offset(directory: Directory, field: Field) -> int | None:
    """Return where the values of a long field are in the file, or None when no file reaches that far."""
    (offset,) = struct.unpack(directory.order + ("Q" if directory.wide else "I"), field.value)
    return offset if offset < MAX_OFFSET else None


def values(file: BinaryIO, directory: Directory, field: Field) -> tuple[int, ...]:
    """Return the integers of a field; none for another type, more than MAX_VALUES values, or missing bytes."""
    letter = INTEGERS.get(field.kind)
    if letter is None or not 1 <= field.length <= MAX_VALUES:
        return ()
    form = struct.Struct(f"{directory.order}{field.length}{letter}")
    content = field.value
    if form.size > len(content):
        offset = value_offset(directory, field)
        if offset is None:
            return ()
        file.seek(offset)
        content = file.read(form.size)
    return form.unpack(content[: form.size]) if len(content) >= form.size else ()
