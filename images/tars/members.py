"""What is in a tar shard: its members in their order, links followed, and never a damaged tar taken for a short one."""

from collections.abc import Iterator
from typing import NamedTuple

from ..entry import Entry, printable
from .headers import Header, headers
from .links import LINKS, TarLinks

_FILES = "07"
"""Types of files; "7" is one that some systems keep in one piece."""
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
    """As in the tar, printable."""
    kind: str
    """One of "file", "folder", "link", "device", "fifo", "sparse file", "volume label", "part of a file", "unknown"."""
    entry: Entry | None
    """The bytes of a file, or of the file that a link leads to."""
    problem: str = ""
    """A phrase that says why there is no entry ("is a fifo, not a file"); folders have neither."""


def tar_members(path: str) -> Iterator[Member]:
    """Yield the members of an uncompressed tar in its order, while it is read; a first link has all headers read at once.

    Links within the tar are followed: they have the bytes of the file that they lead to, and a link to a folder is a folder,
    whose files have members of their own. Raises DamagedShard, at the latest at the end, when the tar is not whole, and
    OSError when it cannot be read.
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
        return Member(name, *_other(header.type))
    if header.size < 0:
        return Member(name, "file", None, f"has a size of {header.size} bytes")
    return Member(name, "file", Entry(path, header.data, header.size, name))


def _other(kind: str) -> tuple[str, None, str]:
    name, problem = _OTHERS.get(kind, ("unknown", f"is of the unknown type {kind!r}, not a file"))
    return name, None, problem


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
