"""The first directory of a TIFF file, as EXIF data has one too, read as far as it is whole."""

import struct
from typing import BinaryIO, NamedTuple

INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}
"""struct's letters of the integer types of a TIFF directory."""
MAX_VALUES = 16
"""Fields of few values alone are read here; those of strips are left to the decoder."""


class Field(NamedTuple):
    """A line of a TIFF directory: its tag, type, number of values, and the values or their place in the file."""

    tag: int
    kind: int
    number: int
    value: bytes


class Directory(NamedTuple):
    """The first directory of a TIFF file; `order` and `wide` are its byte order and whether it is a BigTIFF.

    Of fields with one tag the last counts.
    """

    order: str
    wide: bool
    start: int
    fields: dict[int, Field]


def read_directory(file: BinaryIO) -> Directory | None:
    """Return the first directory of a TIFF file, as far as it goes, or None when there is none."""
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return None
    wide = 43 in head[2:4]
    if wide and len(head) < 16:
        return None
    (start,) = struct.unpack(order + ("Q" if wide else "I"), head[8:16] if wide else head[4:8])
    if start >= 1 << 63:
        return None
    file.seek(start)
    number = file.read(8 if wide else 2)
    if len(number) < (8 if wide else 2):
        return None
    (count,) = struct.unpack(order + ("Q" if wide else "H"), number)
    line = struct.Struct(order + ("HHQ8s" if wide else "HHI4s"))
    content = file.read(min(count, 65535) * line.size)
    whole = len(content) // line.size * line.size
    return Directory(order, wide, start, {tag: Field(tag, *rest) for tag, *rest in line.iter_unpack(content[:whole])})


def values(file: BinaryIO, directory: Directory, field: Field) -> tuple[int, ...]:
    """Return the integers of a field of at most 16; none for one of another kind or number, or of missing bytes."""
    letter = INTEGERS.get(field.kind)
    if letter is None or not 1 <= field.number <= MAX_VALUES:
        return ()
    form = struct.Struct(f"{directory.order}{field.number}{letter}")
    content = field.value
    if form.size > len(content):
        (place,) = struct.unpack(directory.order + ("Q" if directory.wide else "I"), content)
        if place >= 1 << 63:
            return ()
        file.seek(place)
        content = file.read(form.size)
    return form.unpack(content[: form.size]) if len(content) >= form.size else ()
