"""List the members of a tar shard in their order, links resolved."""

from collections.abc import Iterator
from typing import NamedTuple

from ..file_entry import Entry, printable
from .headers import Header, headers
from .links import LINKS, TarLinks

_FILES = "07"
"""Types of regular files; "7" asks for contiguous storage."""
_FOLDERS = "5D"
_OTHERS = {
    "3": ("device", "is a device, not a file"),
    "4": ("device", "is a device, not a file"),
    "6": ("fifo", "is a fifo, not a file"),
    "M": ("part of a file", "is a part of a file that another volume begins"),
    "S": ("sparse file", "is a sparse file, whose holes are not in the shard: pack it without --sparse"),
    "V": ("volume label", "is the label of a volume, not a file"),
}


class Member(NamedTuple):
    """A member of a tar."""

    name: str
    """The name in the tar, made printable."""
    kind: str
    """One of "file", "folder", "link", "device", "fifo", "sparse file", "volume label", "part of a file", "unknown"."""
    entry: Entry | None
    """The bytes of a file, or of the file that a link points to."""
    problem: str = ""
    """A phrase that says why there is no entry ("is a fifo, not a file"); empty for folders."""


def tar_members(path: str) -> Iterator[Member]:
    """Yield the members of an uncompressed tar in their order, lazily; the first link makes all headers be read.

    Links within the tar are resolved: they have the bytes of their file, and a link to a folder is a folder. Raises
    DamagedShard, at the latest at the end, when the tar is not complete, and OSError when it cannot be read.
    """
    links: TarLinks | None = None
    for header in headers(path):
        if header.type in LINKS:
            links = links or TarLinks(headers(path))
            yield _link(path, header, links.target(header))
        else:
            yield _member(path, header)


def _member(path: str, header: Header) -> Member:
    name = printable(header.name)
    if header.type in _FOLDERS:
        return Member(name, "folder", None)
    if header.type not in _FILES:
        unknown = "unknown", f"is of the unknown type {header.type!r}, not a file"
        kind, problem = _OTHERS.get(header.type, unknown)
        return Member(name, kind, None, problem)
    if header.size < 0:
        return Member(name, "file", None, f"has a size of {header.size} bytes")
    return Member(name, "file", Entry(path, header.data, header.size, name))


def _link(path: str, header: Header, target: Header | str) -> Member:
    name, leads_to = printable(header.name), f"is a link to {printable(header.link)}, which"
    if isinstance(target, str):
        return Member(name, "link", None, f"{leads_to} {target}")
    found = _member(path, target)
    if found.kind == "folder":
        return Member(name, "folder", None)
    if found.entry is None:
        return Member(name, "link", None, f"{leads_to} {found.problem}")
    return Member(name, "link", Entry(path, found.entry.offset, found.entry.size, name))
