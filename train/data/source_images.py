"""The images of each source, listed once per call."""

import functools
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from ...images.file_entry import Entry
from ...images.finding.index import index_images
from .config import SourceConfig


class SourceImages:
    """The images of sources, as they were when first asked for.

    Each path is walked once, so everything that shares this object sees the same images.
    """

    def __init__(self) -> None:
        self._walked = functools.cache(lambda path: list(index_images(path)))
        self._found = functools.cache(
            lambda paths: list(_distinct(entry for path in paths for entry in self._walked(path)))
        )

    def of(self, source: SourceConfig) -> list[Entry]:
        """Return the images of a source without duplicates; raise ValueError if a path, or the selection, has none."""
        found: list[Entry] = self._found(tuple(source.path))
        names = re.compile(source.names)
        named = [entry for entry in found if names.fullmatch(os.path.basename(entry.name))]
        if not named:
            raise ValueError(
                f"no image of {source.where} has a name that matches {source.names!r}, the first is {found[0].name!r}: "
                "change names."
            )
        if source.split == (0.0, 1.0):
            return named
        ordered = sorted(named, key=_name_hash)
        first, last = (round(edge * len(ordered)) for edge in source.split)
        if first >= last:
            raise ValueError(
                f"split is {list(source.split)}, which leaves none of the {len(named)} images of {source.where}: widen it."
            )
        return ordered[first:last]


def _name_hash(entry: Entry) -> bytes:
    return hashlib.sha256(os.fsencode(os.path.basename(entry.name))).digest()


def _distinct(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield each image once, whatever paths and links lead to its file."""
    real_folder = functools.lru_cache(maxsize=None)(os.path.realpath)  # one system call for most files
    seen: set[str] = set()
    # The members of a shard are adjacent, so its path is resolved once.
    for path, members in groupby(entries, key=lambda entry: entry.path):
        folder, name = os.path.split(path)
        is_plain = name not in ("", ".", "..") and not os.path.islink(path)
        where = os.path.join(real_folder(folder), name) if is_plain else os.path.realpath(path)
        if where not in seen:
            seen.add(where)
            yield from {entry.offset: entry for entry in members}.values()
