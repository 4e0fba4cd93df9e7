"""List the members of a tar shard in their order, links resolved."""

import errno
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from posixpath import dirname, join, normpath
from typing import BinaryIO, NamedTuple

from ..file_entry import Entry, printable
from .fields import Header
from .headers import headers

LINKS = "12"
"""Types of hard links and symlinks."""
MAX_LINKS = 40
"""Length of a chain of links, as on Linux; a longer one is a circle."""
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


def tar_members(path: str, file: BinaryIO | None = None, start: int = 0) -> Iterator[Member]:
    """Yield the members of an uncompressed tar in their order, lazily; the first link makes all headers be read.

    A seekable `file` is read in place of the one at `path`, and left open; `start` is the offset of a member, where reading
    begins. Links within the tar are resolved: they have the
    bytes of their file, and a link to a folder is a folder. Raises DamagedShard, at the latest at the end, when the tar is
    not complete, and OSError when it cannot be read.
    """
    links: TarLinks | None = None
    for header in headers(path, file, start):
        if header.type in LINKS:
            links = links or TarLinks(headers(path, file))
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


class TarLinks:
    """Targets of the links of a tar; reads all of its headers.

    A hard link is another name of the last earlier member of its target's name, or else of a later one. A symlink points to
    the last member of its target's name, relative to its own folder.
    """

    def __init__(self, headers: Iterable[Header]):
        self._last: dict[str, Header] = {}  # by path; a hard link counts as the member it names
        self._links: dict[int, Header] = {}  # by offset
        for header in headers:
            member = header
            if header.type == "1" and (found := self._last.get(normpath(header.link))):
                member = found._replace(name=header.name)
            if header.type in LINKS:
                self._links[header.offset] = member
            self._last[normpath(header.name)] = member
            if header.name.startswith("/"):  # unpacking strips the slash
                self._last[normpath(header.name.lstrip("/"))] = member
        self._folders = {"", "."}  # a tar need not have members for the folders of its files
        for path in self._last:
            while (path := dirname(path)) not in self._folders:
                self._folders.add(path)

    def target(self, link: Header) -> Header | str:
        """Return the member that a link points to, or a phrase that says why there is none."""
        member = self._links.get(link.offset)
        if member is None:
            raise OSError(errno.EIO, "the tar changed while it was read")
        at = dirname(normpath(member.name))
        rest: list[str] = []
        for _ in range(MAX_LINKS):
            if member.type not in LINKS:
                return member
            if member.type == "1":
                at = ""
            rest = [*PurePosixPath(member.link).parts, *rest]
            found = None
            while rest and (found is None or found.type not in LINKS):
                at = normpath(join(at, rest.pop(0)))
                found = self._last.get(at)
            if found is None:
                return link._replace(type="5") if link.link and at in self._folders else "is not in the shard"
            at = dirname(at) if found.type in LINKS else at
            member = found
        return "leads back to itself"
