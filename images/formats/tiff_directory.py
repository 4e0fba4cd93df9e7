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

    file: BinaryIO
    order: str
    """Byte order, < or > as in module struct."""
    wide: bool
    """Whether it is a BigTIFF, with 64-bit offsets."""
    start: int
    fields: dict[int, Field]

    def integers(self, tag: int) -> tuple[int, ...]:
        """Return the integers of a field; none for another type, more than MAX_VALUES values, or missing bytes."""
        field = self.fields.get(tag)
        if field is None or field.kind not in INTEGERS or not 1 <= field.length <= MAX_VALUES:
            return ()
        form = struct.Struct(f"{self.order}{field.length}{INTEGERS[field.kind]}")
        content = field.value if form.size <= len(field.value) else self.stored(field, form.size)
        return form.unpack(content[: form.size]) if len(content) >= form.size else ()

    def stored(self, field: Field, size: int) -> bytes:
        """Return the bytes of a field that are stored outside the directory, fewer or none where the file ends."""
        (offset,) = struct.unpack(self.order + ("Q" if self.wide else "I"), field.value)
        if offset >= MAX_OFFSET:
            return b""
        self.file.seek(offset)
        return self.file.read(size)


def read_directory(file: BinaryIO) -> Directory | None:
    """Return the first directory of a TIFF file as far as it is intact, or None when there is none."""
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    wide = 43 in head[2:4]
    if order is None or len(head) < (16 if wide else 8):
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
    return Directory(file, order, wide, start, fields)
