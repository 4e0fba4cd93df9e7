"""The headers of a tar, walked one by one: whatever is lost on the way is an error, never an early end."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from ..entry import open_regular, printable
from .blocks import TarBlocks
from .fields import BLOCK, Fields, decode, parse_header, parse_pax

MAX_EXTENSION = 16 << 20
"""Bytes of a long name or a pax header."""
_EXTENSIONS = "xXgLK"
_BARE = "123456"
"""Types whose headers no data follow, whatever size they give: links, devices, folders and fifos."""


class Header(NamedTuple):
    """A member of a tar, as its headers tell of it."""

    type: str
    """The character of POSIX or GNU tar: "0" a file, "1" a hard link, "2" a symlink, ...; "S" is any sparse file."""
    name: str
    """Bytes that are not UTF-8 are surrogates, as in the names of the file system."""
    link: str
    """Where a link leads."""
    offset: int
    """Of its first header."""
    data: int
    """Where its bytes begin."""
    size: int
    """0 where no data follow, negative where the header says so."""


def headers(path: str) -> Iterator[Header]:
    """Yield the members of an uncompressed tar in their order, read as they are asked for.

    Raises DamagedShard for a header with a wrong checksum, for a tar that ends early, and for anything but the end of a tar
    behind the last member. Raises OSError when the file cannot be read.
    """
    with open_regular(path) as file:
        tar = TarBlocks(path, file)
        at = 0
        common: dict[str, str] = {}  # what global pax headers say of all members behind them
        while True:
            start = at
            own: dict[str, str] = {}
            while (fields := tar.header(at)) and fields.type in _EXTENSIONS:
                said = _extension(tar, at, fields)
                if fields.type == "g":
                    common |= said
                else:  # pax headers overrule GNU tar's long names
                    own = said | own if fields.type in "LK" else own | said
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
    """Return how far the data of a member reach: to the end of its last block."""
    return -(-max(size, 0) // BLOCK) * BLOCK


def _extension(tar: TarBlocks, at: int, fields: Fields) -> dict[str, str]:
    """Return what the header at `at` says of the member behind it, as records of pax."""
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


def _header(tar: TarBlocks, start: int, at: int, fields: Fields, said: dict[str, str]) -> Header:
    """Return the member whose last header is at `at`, when its data are all there."""
    name = said.get("GNU.sparse.name", said.get("path", fields.name))
    kind = "S" if any(key.startswith("GNU.sparse.") for key in said) else fields.type
    if kind == "\0":  # a file of the first tar, which told folders by their last character
        kind = "5" if name.endswith("/") else "0"
    data = at + BLOCK
    holes_follow = fields.holes_follow
    while holes_follow:
        block = tar.read(data, BLOCK)
        if len(block) < BLOCK:
            tar.refuse(f"is cut off within the header at byte {at}")
        holes_follow = block[504] != 0
        data += BLOCK
    size = _size(tar, at, fields, said)
    if kind == "1" and size > 0 and not _header_follows(tar, data):
        kind = "0"  # some archivers store the bytes with every name of a file
    if kind in _BARE:
        size = 0
    if data + size > tar.size:
        tar.refuse(f"is cut off within {printable(name)}, of whose {size} bytes it has {max(0, tar.size - data)}")
    return Header(
        kind, name.rstrip("/") if kind in "5D" else name, said.get("linkpath", fields.link), start, data, size
    )


def _size(tar: TarBlocks, at: int, fields: Fields, said: dict[str, str]) -> int:
    if "size" not in said:
        return fields.size
    if not re.fullmatch(r"-?[0-9]{1,19}", said["size"]):
        tar.refuse(f"has a broken pax header before byte {at}, whose size is {said['size']!r}")
    size = int(said["size"])
    if fields.size not in (0, size) and size < 8**11:  # larger ones do not fit into the header itself
        tar.refuse(f"has two headers before byte {at + BLOCK} that disagree: {size} and {fields.size} bytes")
    return size


def _header_follows(tar: TarBlocks, at: int) -> bool:
    block = tar.read(at, BLOCK)
    return not any(block) or parse_header(block) is not None
