"""The files below a folder of a store, or those that a glob matches: a folder that cannot be listed is not an empty one.

Imports fsspec on demand.
"""

import re
from functools import partial
from typing import Any

from ...tokenizer.remote_files import FileSystem
from ...tokenizer.retries import retried


def files_below(filesystem: FileSystem, root: str, url: str) -> dict[str, dict[str, Any]]:
    """Return what a store says of all files below a path, by their paths; none where there is no folder. Raises OSError."""
    if not _lists_at_once(filesystem):
        return _walked(filesystem, root, url, None)
    try:
        return _files(retried(partial(filesystem.find, root, detail=True), url).values())
    except FileNotFoundError:
        return {}


def files_that_match(filesystem: FileSystem, pattern: str, url: str) -> dict[str, dict[str, Any]]:
    """Return what a store says of the files whose paths match a glob. Raises OSError."""
    from fsspec.utils import glob_translate

    first = re.search(r"[*?\[]", pattern)
    assert first
    root = pattern[: first.start()].rpartition("/")[0]
    depth = pattern[len(root) :].strip("/").count("/") + 1
    found = files_below(filesystem, root, url) if "**" in pattern else _walked(filesystem, root, url, depth)
    matches = re.compile(glob_translate(pattern)).match
    return {path: info for path, info in found.items() if matches(path)}


def _walked(filesystem: FileSystem, root: str, url: str, depth: int | None) -> dict[str, dict[str, Any]]:
    """List folder by folder, each tried again by itself; fsspec's own walk goes on where one fails."""
    found: dict[str, dict[str, Any]] = {}
    folders, level = [root], 0
    while folders and (depth is None or level < depth):
        below: list[str] = []
        for folder in folders:
            try:
                rows = retried(partial(filesystem.ls, folder, detail=True), url)
            except FileNotFoundError:  # removed meanwhile, or a link to nowhere on a page
                continue
            rows = [row for row in rows if row["name"].rstrip("/") != folder.rstrip("/")]
            found.update(_files(rows))
            below += [row["name"] for row in rows if row["type"] == "directory"]
        folders, level = below, level + 1
    return found


def _files(rows: Any) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in rows if row["type"] == "file"}


def _lists_at_once(filesystem: FileSystem) -> bool:
    """Return whether a store lists all that is below a path by itself, as object stores do."""
    from fsspec import AbstractFileSystem
    from fsspec.asyn import AsyncFileSystem

    name, base = ("_find", AsyncFileSystem) if filesystem.async_impl else ("find", AbstractFileSystem)
    return getattr(type(filesystem), name) is not getattr(base, name)
