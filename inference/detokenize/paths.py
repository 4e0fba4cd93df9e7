"""One path below the output folder for the image of every key, whatever the key is."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence

from ..inputs.keys import file_name, make_unique, normalised_key

ENDING = ".png"
MAX_PATH_BYTES = 2048
"""Bytes of the longest path below the folder; together with the folder's own path, systems take 4096."""


def image_paths(shards: Sequence[tuple[str, Iterable[str]]]) -> list[list[str]]:
    """Return KEY.png for each key of each shard, given by name, or SHARD/KEY.png for a key of several shards."""
    listed = [(shard, make_unique(keys)) for shard, keys in shards]
    counts = Counter(key for _, keys in listed for key in keys)
    used: set[str] = set()
    return [[_unused(key if counts[key] == 1 else f"{shard}/{key}", used) for key in keys] for shard, keys in listed]


def _unused(key: str, used: set[str]) -> str:
    """Return a path that no other image has, even on file systems that ignore case."""
    path, number = _path(key), 1
    while path.casefold() in used:
        number += 1
        path = _path(f"{key}_{number}")
    used.add(path.casefold())
    return path


def _path(key: str) -> str:
    *folders, base = normalised_key(key).replace("\0", r"\x00").split("/")
    folders = [f"{folder}_" if folder.casefold().endswith(ENDING) else folder for folder in folders]  # no file's name
    path = "/".join([*(file_name(folder, "") for folder in folders), file_name(base or "unnamed", ENDING)])
    return path if len(os.fsencode(path)) <= MAX_PATH_BYTES else file_name(path.replace("/", "_"), ENDING)
