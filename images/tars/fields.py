"""Parse the header blocks of a tar, and the records of pax headers."""

import re
from typing import NamedTuple

BLOCK = 512
_OCTAL = re.compile(rb"(-?[0-7]+)?")
_RECORD = re.compile(rb"(\d{1,9}) ([^=]+)=")


class Header(NamedTuple):
    """A member of a tar, as one header block or all of its headers describe it."""

    type: str
    """The character of POSIX or GNU tar: "0" a file, "1" a hard link, "2" a symlink, "S" a sparse file, ..."""
    name: str
    """Bytes that are not UTF-8 are surrogate escapes, as in Python's file names."""
    link: str
    """Target of a link."""
    offset: int
    """Offset of its first header."""
    data: int
    """Offset of its data."""
    size: int
    """Negative when the header says so."""
    holes_follow: bool
    """Whether the map of a GNU sparse file continues in the block after this one."""


def parse_header(block: bytes, at: int) -> Header | None:
    """Return the header in a block, or None when it is cut off, its checksum is wrong or its size is not a number."""
    if len(block) < BLOCK or not _checksum_holds(block):
        return None
    size = _number(block[124:136])
    if size is None:
        return None
    kind, name = chr(block[156]), _text(block[:100])
    if prefix := _prefix(block):
        name = f"{prefix}/{name}"
    return Header(kind, name, _text(block[157:257]), at, at + BLOCK, size, kind == "S" and block[482] != 0)


def parse_pax(content: bytes) -> dict[str, str] | None:
    """Return the records ("LENGTH KEY=VALUE\\n") of a pax header, or None when they are malformed."""
    records = {}
    at, last = 0, len(content.rstrip(b"\0"))
    while at < last:
        start = _RECORD.match(content, at)
        end = at + int(start.group(1)) if start else 0
        if not start or not start.end() < end <= len(content) or content[end - 1] != ord("\n"):
            return None
        records[decode(start.group(2))] = decode(content[start.end() : end - 1])
        at = end
    return records


def decode(name: bytes) -> str:
    """Return a name as Python represents file names."""
    return name.decode("utf-8", "surrogateescape")


def _checksum_holds(block: bytes) -> bool:
    stored = _number(block[148:156])
    unsigned = sum(block) - sum(block[148:156]) + 8 * ord(" ")  # the checksum field itself counts as spaces
    if stored == unsigned:
        return True
    counted = block[:148] + block[156:]
    return stored == unsigned - 256 * sum(byte > 127 for byte in counted)  # some old tars summed signed bytes


def _prefix(block: bytes) -> str:
    """Return the folder of a name in ustar's prefix field, where GNU tar has times and some writers a folder all the same."""
    magic = block[257:265]
    if magic[:5] != b"ustar" or (magic == b"ustar  \0" and _number(block[345:357]) is not None):
        return ""
    return _text(block[345 : 476 if block[508:] == b"tar\0" else 500])


def _text(field: bytes) -> str:
    return decode(field.split(b"\0", 1)[0])


def _number(field: bytes) -> int | None:
    """Return a number in octal digits, or in base 256 when the first bit is set; None for anything else."""
    if field[0] & 0x80:
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        return value - (1 << bits) if field[0] & 0x40 else value
    digits = field.split(b"\0", 1)[0].strip(b" ")
    return int(digits or b"0", 8) if _OCTAL.fullmatch(digits) else None
