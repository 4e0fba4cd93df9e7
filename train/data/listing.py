"""Which images the sources of a run have, listed once and passed on."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from ...images.finding.index import Entry, index_images
from .sources import SourceConfig


class Listing:
    """The images of sources as they were when they were first asked for.

    A path is walked once however many sources share it, so what shares a listing sees the same images.
    """

    def __init__(self) -> None:
        self._walked: dict[str, list[Entry]] = {}
        self._found: dict[tuple[str, ...], list[Entry]] = {}

    def images(self, source: SourceConfig) -> list[Entry]:
        """Return the images of a source, each once; raise ValueError when a path of it has none."""
        found = self._everything(source)
        names = re.compile(source.names)
        named = [entry for entry in found if names.fullmatch(os.path.basename(entry.name))]
        if not named:
            raise ValueError(
                f"no image of {source.where} has a name that matches {source.names!r}, the first is {found[0].name!r}: "
                "change names."
            )
        if source.share == (0.0, 1.0):
            return named
        ordered = sorted(named, key=_place)
        first, last = (round(edge * len(ordered)) for edge in source.share)
        if first >= last:
            raise ValueError(
                f"share {list(source.share)} of the {len(named)} images of {source.where} is none: widen it."
            )
        return ordered[first:last]

    def _everything(self, source: SourceConfig) -> list[Entry]:
        paths = tuple(source.path)
        if paths not in self._found:
            for path in paths:
                if path not in self._walked:
                    self._walked[path] = list(index_images(path))
            self._found[paths] = list(_distinct(entry for path in paths for entry in self._walked[path]))
        return self._found[paths]


def _place(entry: Entry) -> bytes:
    return hashlib.sha256(os.fsencode(os.path.basename(entry.name))).digest()


def _distinct(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield each image once, whatever paths and links lead to its file."""
    real = _RealPaths()
    seen: set[str] = set()
    # The members of a shard follow one another, so that its path is looked at once.
    for path, members in groupby(entries, key=lambda entry: entry.path):
        where = real.of(path)
        if where not in seen:
            seen.add(where)
            yield from {entry.offset: entry for entry in members}.values()


class _RealPaths:
    """`os.path.realpath`, with one system call for most files: their folders are resolved once."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, path: str) -> str:
        folder, name = os.path.split(path)
        if name in ("", ".", "..") or os.path.islink(path):
            return os.path.realpath(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)
