"""Walk the headers of a tar; anything lost on the way is an error, never an early end."""

import re
from collections.abc import Iterator
from contextlib import nullcontext
from typing import BinaryIO

from ..file_entry import open_regular, printable
from .blocks import TarBlocks
from .fields import BLOCK, Header, decode, parse_header, parse_pax

MAX_EXTENSION = 16 << 20
"""Bytes of a long name or a pax header."""
_EXTENSIONS = "xXgLK"
_WITHOUT_DATA = "123456"
"""Types without data, whatever size their headers give: links, devices, folders and fifos."""


def headers(path: str, file: BinaryIO | None = None, start: int = 0) -> Iterator[Header]:
    """Yield the members of an uncompressed tar in their order, lazily.

    A seekable `file` is read in place of the one at `path`, and left open. `start` is the offset of a member, where reading
    begins. Raises DamagedShard for a wrong checksum, for a tar that ends early, and for anything after the last member but
    the end of a tar. Raises OSError when the file cannot be read.
    """
    with nullcontext(file) if file else open_regular(path) as opened:
        tar = TarBlocks(path, opened)
        at = start
        common: dict[str, str] = {}  # from global pax headers, which apply to all later members
        while True:
            first = at
            own: dict[str, str] = {}
            while (last := tar.header(at)) and last.type in _EXTENSIONS:
                extended = _extension(tar, last)
                if last.type == "g":
                    common |= extended
                else:  # pax headers override GNU tar's long names
                    own = extended | own if last.type in "LK" else own | extended
                at = _end(last)
            if last is None:
                if own:
                    tar.refuse(f"has zeros at byte {at} where a header should be")
                tar.check_end(at)
                return
            member = _member(tar, last, {key: value for key, value in (common | own).items() if value})
            tar.previous = member.name
            yield member._replace(offset=first)
            at = _end(member)


def _end(header: Header) -> int:
    return header.data + -(-max(header.size, 0) // BLOCK) * BLOCK


def _extension(tar: TarBlocks, header: Header) -> dict[str, str]:
    """Return what an extension header says about the next member, as pax records."""
    if not 0 <= header.size <= MAX_EXTENSION:
        tar.refuse(
            f"has a name or pax header of {header.size} bytes at byte {header.offset}, where {MAX_EXTENSION} are read"
        )
    content = tar.read(header.data, header.size)
    if len(content) < header.size:
        tar.refuse(f"is cut off within the header at byte {header.offset}")
    if header.type in "LK":
        return {"path" if header.type == "L" else "linkpath": decode(content.split(b"\0", 1)[0])}
    records = parse_pax(content)
    if records is None:
        tar.refuse(f"has a broken pax header at byte {header.offset}")
    return records


def _member(tar: TarBlocks, last: Header, extended: dict[str, str]) -> Header:
    """Return a member by its last header and what others said; raise DamagedShard when its data are cut off."""
    name = extended.get("GNU.sparse.name", extended.get("path", last.name))
    kind = "S" if any(key.startswith("GNU.sparse.") for key in extended) else last.type
    if kind == "\0":  # a file of the first tar format, whose folders end in a slash
        kind = "5" if name.endswith("/") else "0"
    data, holes_follow = last.data, last.holes_follow
    while holes_follow:
        block = tar.read(data, BLOCK)
        if len(block) < BLOCK:
            tar.refuse(f"is cut off within the header at byte {last.offset}")
        holes_follow = block[504] != 0
        data += BLOCK
    size = _size(tar, last, extended)
    if kind == "1" and size > 0:  # some archivers store the bytes under every name of a file
        block = tar.read(data, BLOCK)
        kind = "0" if any(block) and not parse_header(block, data) else kind
    if kind in _WITHOUT_DATA:
        size = 0
    if data + size > tar.size:
        tar.refuse(f"is cut off within {printable(name)}, after {max(0, tar.size - data)} of its {size} bytes")
    link = extended.get("linkpath", last.link)
    name = name.rstrip("/") if kind in "5D" else name
    return last._replace(type=kind, name=name, link=link, data=data, size=size)


def _size(tar: TarBlocks, last: Header, extended: dict[str, str]) -> int:
    if "size" not in extended:
        return last.size
    if not re.fullmatch(r"-?[0-9]{1,19}", extended["size"]):
        tar.refuse(f"has a broken pax header before byte {last.offset}, whose size is {extended['size']!r}")
    size = int(extended["size"])
    if last.size not in (0, size) and size < 8**11:  # larger ones do not fit into the header
        tar.refuse(f"has two headers before byte {last.data} that disagree: {size} and {last.size} bytes")
    return size
