"""Walk the headers of a tar; anything lost on the way is an error, never an early end."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from ..file_entry import open_regular, printable
from .blocks import TarBlocks
from .fields import BLOCK, Fields, decode, parse_header, parse_pax

MAX_EXTENSION = 16 << 20
"""Bytes of a long name or a pax header."""
_EXTENSIONS = "xXgLK"
_WITHOUT_DATA = "123456"
"""Types without data, whatever size their headers give: links, devices, folders and fifos."""


class Header(NamedTuple):
    """A member of a tar, as its headers describe it."""

    type: str
    """As in `Fields`, but "S" is any sparse file."""
    name: str
    link: str
    offset: int
    """Offset of its first header."""
    data: int
    """Offset of its data."""
    size: int
    """0 for types without data; negative when the header says so."""


def headers(path: str) -> Iterator[Header]:
    """Yield the members of an uncompressed tar in their order, lazily.

    Raises DamagedShard for a wrong checksum, for a tar that ends early, and for anything after the last member but the end of
    a tar. Raises OSError when the file cannot be read.
    """
    with open_regular(path) as file:
        tar = TarBlocks(path, file)
        at = 0
        common: dict[str, str] = {}  # from global pax headers, which apply to all later members
        while True:
            start = at
            own: dict[str, str] = {}
            while (fields := tar.header(at)) and fields.type in _EXTENSIONS:
                extended = _extension(tar, at, fields)
                if fields.type == "g":
                    common |= extended
                else:  # pax headers override GNU tar's long names
                    own = extended | own if fields.type in "LK" else own | extended
                at += BLOCK + padded(fields.size)
            if fields is None:
                if own:
                    tar.refuse(f"has zeros at byte {at} where a header should be")
                tar.check_end(at)
                return
            header = _header(tar, start, at, fields, {key: value for key, value in (common | own).items() if value})
            tar.previous = header.name
            yield header
            at = header.data + padded(header.size)


def padded(size: int) -> int:
    """Return a size rounded up to whole blocks."""
    return -(-max(size, 0) // BLOCK) * BLOCK


def _extension(tar: TarBlocks, at: int, fields: Fields) -> dict[str, str]:
    """Return what an extension header says about the next member, as pax records."""
    if not 0 <= fields.size <= MAX_EXTENSION:
        tar.refuse(f"has a name or pax header of {fields.size} bytes at byte {at}, where {MAX_EXTENSION} are read")
    content = tar.read(at + BLOCK, fields.size)
    if len(content) < fields.size:
        tar.refuse(f"is cut off within the header at byte {at}")
    if fields.type in "LK":
        return {"path" if fields.type == "L" else "linkpath": decode(content.split(b"\0", 1)[0])}
    records = parse_pax(content)
    if records is None:
        tar.refuse(f"has a broken pax header at byte {at}")
    return records


def _header(tar: TarBlocks, start: int, at: int, fields: Fields, extended: dict[str, str]) -> Header:
    """Return the member whose last header is at `at`; raise DamagedShard when its data are cut off."""
    name = extended.get("GNU.sparse.name", extended.get("path", fields.name))
    kind = "S" if any(key.startswith("GNU.sparse.") for key in extended) else fields.type
    if kind == "\0":  # a file of the first tar format, whose folders end in a slash
        kind = "5" if name.endswith("/") else "0"
    data = at + BLOCK
    holes_follow = fields.holes_follow
    while holes_follow:
        block = tar.read(data, BLOCK)
        if len(block) < BLOCK:
            tar.refuse(f"is cut off within the header at byte {at}")
        holes_follow = block[504] != 0
        data += BLOCK
    size = _size(tar, at, fields, extended)
    if kind == "1" and size > 0 and not _header_follows(tar, data):
        kind = "0"  # some archivers store the bytes under every name of a file
    if kind in _WITHOUT_DATA:
        size = 0
    if data + size > tar.size:
        tar.refuse(f"is cut off within {printable(name)}, after {max(0, tar.size - data)} of its {size} bytes")
    return Header(
        kind, name.rstrip("/") if kind in "5D" else name, extended.get("linkpath", fields.link), start, data, size
    )


def _size(tar: TarBlocks, at: int, fields: Fields, extended: dict[str, str]) -> int:
    if "size" not in extended:
        return fields.size
    if not re.fullmatch(r"-?[0-9]{1,19}", extended["size"]):
        tar.refuse(f"has a broken pax header before byte {at}, whose size is {extended['size']!r}")
    size = int(extended["size"])
    if fields.size not in (0, size) and size < 8**11:  # larger ones do not fit into the header
        tar.refuse(f"has two headers before byte {at + BLOCK} that disagree: {size} and {fields.size} bytes")
    return size


def _header_follows(tar: TarBlocks, at: int) -> bool:
    block = tar.read(at, BLOCK)
    return not any(block) or parse_header(block) is not None
