"""Resolve the links of a tar as if it were unpacked."""

import errno
from collections.abc import Iterable
from functools import cached_property

from .headers import Header

LINKS = "12"
"""Types of hard links and symlinks."""
MAX_LINKS = 40
"""Length of a chain of links, as on Linux; a longer one is a circle."""


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
            if header.type == "1" and (found := self._last.get(_path(header.link))):
                member = found._replace(name=header.name)
            if header.type in LINKS:
                self._links[header.offset] = member
            self._last[_path(header.name)] = member
            if header.name.startswith("/"):  # unpacking strips the slash
                self._last[_path(header.name.lstrip("/"))] = member

    def target(self, link: Header) -> Header | str:
        """Return the member that a link points to, or a phrase that says why there is none."""
        member = self._links.get(link.offset)
        if member is None:
            raise OSError(errno.EIO, "the tar changed while it was read")
        at = _normalised(_parts(member.name))[:-1]
        rest: list[str] = []
        for _ in range(MAX_LINKS):
            if member.type not in LINKS:
                return member
            if member.type == "1" or member.link.startswith("/"):
                at = []
            rest = _parts(member.link) + rest
            found = None
            while rest and (found is None or found.type not in LINKS):
                at = _normalised([*at, rest.pop(0)])
                found = self._last.get("/".join(at))
            if found is None:
                return self._folder("/".join(at), link)
            at = at[:-1] if found.type in LINKS else at
            member = found
        return "leads back to itself"

    def _folder(self, path: str, link: Header) -> Header | str:
        # A tar need not have members for the folders of its files.
        return link._replace(type="5") if link.link and path in self._folders else "is not in the shard"

    @cached_property
    def _folders(self) -> set[str]:
        folders = {""}
        for path in self._last:
            while "/" in path and (path := path.rpartition("/")[0]) not in folders:
                folders.add(path)
        return folders


def _path(name: str) -> str:
    return "/".join(_normalised(_parts(name)))


def _parts(path: str) -> list[str]:
    """Return the parts of a path, "/" first when it is absolute."""
    return ["/"] * path.startswith("/") + [part for part in path.split("/") if part not in ("", ".")]


def _normalised(parts: list[str]) -> list[str]:
    """Return the parts of a path with ".." resolved."""
    steps: list[str] = []
    for part in parts:
        if part != ".." or not steps or steps[-1] == "..":
            steps.append(part)
        elif steps != ["/"]:
            steps.pop()
    return steps
