"""Under which names images come back from their tokens: one for each, whatever the keys."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence

from .keys import normalised_key, told_apart

ENDING = ".png"
LONGEST = 255
"""Bytes of the longest name of a file."""
LONGEST_PATH = 2048
"""Bytes of the longest path below the folder; with the folder's own path, systems take 4096."""


def image_names(shards: Sequence[tuple[str, Iterable[str]]]) -> list[list[str]]:
    """Return a relative path for each key of each shard, given as its name and its keys.

    It is KEY.png; keys that occur in several shards are SHARD/KEY.png.
    """
    listed = [(shard, told_apart(keys)) for shard, keys in shards]
    counts = Counter(key for _, keys in listed for key in keys)
    used: set[str] = set()
    return [[_unused(key if counts[key] == 1 else f"{shard}/{key}", used) for key in keys] for shard, keys in listed]


def _unused(key: str, used: set[str]) -> str:
    """Return a name that no other has, also where a file system does not tell capitals from small letters."""
    name, number = _file_name(key), 1
    while name.casefold() in used:
        number += 1
        name = _file_name(f"{key}_{number}")
    used.add(name.casefold())
    return name


def _file_name(key: str) -> str:
    *folders, base = normalised_key(key).replace("\0", r"\x00").split("/")
    folders = [
        f"{folder}_" if folder.casefold().endswith(ENDING) else folder for folder in folders
    ]  # no file is a folder
    path = "/".join([*(shortened(folder, "") for folder in folders), shortened(base or "unnamed", ENDING)])
    return path if len(os.fsencode(path)) <= LONGEST_PATH else shortened(path.replace("/", "_"), ENDING)


def shortened(name: str, ending: str) -> str:
    """Return a name that file systems take; one that is too long keeps its beginning, and a hash of the whole."""
    if len(os.fsencode(name + ending)) <= LONGEST:
        return name + ending
    end = f"-{hashlib.sha256(name.encode()).hexdigest()[:12]}{ending}"
    return name.encode()[: LONGEST - len(end)].decode(errors="ignore") + end
