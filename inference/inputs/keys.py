"""The keys of images in shards, from the names of their files."""

import os
import posixpath
from collections import Counter
from collections.abc import Collection, Iterable


def webdataset_key(name: str) -> str:
    """Return what webdataset takes for the key of a file in a tar: the name up to the first dot of its last part."""
    folder, base = posixpath.split(name)
    return posixpath.join(folder, base.split(".")[0])


def webdataset_extension(name: str) -> str:
    """Return the rest of the name, without the first dot: `seg.png` of `x/1.seg.png`."""
    return posixpath.basename(name).partition(".")[2]


def normalised_key(key: str) -> str:
    """Return a key as a path below any folder: `../up`, `/abs`, `./dot` and `a//b` become `up`, `abs`, `dot` and `a/b`."""
    return posixpath.normpath("/" + key).lstrip("/")


def told_apart(keys: Iterable[str], taken: Collection[str] = ()) -> list[str]:
    """Return the keys, normalised; one that was taken before gets the first free number behind it, from 2 on."""
    used = set(taken)
    numbers: dict[str, int] = {}  # the last one of each key: to count from 2 again would take for ever
    found = []
    for key in map(normalised_key, keys):
        unique, number = key, numbers.get(key, 1)
        while unique in used:
            number += 1
            unique = f"{key}_{number}"
        numbers[key] = number
        used.add(unique)
        found.append(unique)
    return found


def unique_keys(names: list[str]) -> list[str]:
    """Make webdataset keys (no dot in the last part) of file names, telling equal ones apart by ending, then number."""
    return told_apart(keys_with_endings(names))


def keys_with_endings(names: list[str]) -> list[str]:
    """Make keys of file names, those that would be equal with their endings behind them; some may still be equal."""
    plain = [_plain_key(name) for name in names]
    counts = Counter(plain)
    endings = (os.path.splitext(name)[1].lstrip(".").lower() for name in names)
    return [f"{key}_{ending}" if counts[key] > 1 else key for key, ending in zip(plain, endings, strict=True)]


def _plain_key(name: str) -> str:
    folder, base = posixpath.split(os.path.splitext(name)[0])
    return posixpath.join(folder, base.replace(".", "_"))
