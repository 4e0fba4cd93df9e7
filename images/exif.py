"""Which way up an image is, read so that no other tag can be in the way."""

import io
import re
import struct
from typing import BinaryIO, NamedTuple

ORIENTATION = 0x0112
UPRIGHT = 1
XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)([0-9])")
INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}
"""struct's letters of the integer types of a TIFF directory."""


class Field(NamedTuple):
    """A line of a TIFF directory: its tag, type, number of values, and the values or their place in the file."""

    tag: int
    kind: int
    count: int
    value: bytes


class Directory(NamedTuple):
    """The first directory of a TIFF file; `order` and `wide` are its byte order and whether it is a BigTIFF."""

    order: str
    wide: bool
    start: int
    fields: list[Field]


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
    return Directory(order, wide, start, [Field(*values) for values in line.iter_unpack(content[:whole])])


def integer(field: Field, order: str) -> int | None:
    """Return the value of a field of one integer; None for every other field."""
    letter = INTEGERS.get(field.kind)
    if letter is None or field.count != 1 or struct.calcsize(letter) > len(field.value):
        return None
    return int(struct.unpack_from(order + letter, field.value)[0])


def orientation(exif: bytes, xmp: bytes = b"") -> int:
    """Return the orientation, 1 to 8, from EXIF data, or else from XMP; 1 when neither has a right one."""
    directory = read_directory(io.BytesIO(exif.removeprefix(b"Exif\0\0")))
    for field in directory.fields if directory else ():
        if field.tag == ORIENTATION:
            return known(integer(field, directory.order if directory else "<"))
    found = XMP_ORIENTATION.search(xmp)
    return known(int(found[1])) if found else UPRIGHT


def known(value: object) -> int:
    """Return an orientation of 1 to 8 as it is, and 1 for anything else."""
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT
