"""The keys of pictures in shards, from the names of their files."""

import os


def webdataset_key(name: str) -> str:
    """Return what webdataset takes for the key of a file in a tar: the name up to the first dot of its last part."""
    folder, base = os.path.split(name)
    return os.path.join(folder, base.split(".")[0])


def unique_keys(names: list[str]) -> list[str]:
    """Make webdataset keys (no dot in the last part) of file names, telling equal ones apart by ending, then number."""
    counts: dict[str, int] = {}
    for name in names:
        counts[_plain_key(name)] = counts.get(_plain_key(name), 0) + 1
    keys: list[str] = []
    taken: set[str] = set()
    for name in names:
        key = _plain_key(name)
        if counts[key] > 1:
            key = f"{key}_{os.path.splitext(name)[1].lstrip('.').lower()}"
        unique, number = key, 1
        while unique in taken:
            number += 1
            unique = f"{key}_{number}"
        taken.add(unique)
        keys.append(unique)
    return keys


def _plain_key(name: str) -> str:
    folder, base = os.path.split(os.path.splitext(name)[0])
    return os.path.join(folder, base.replace(".", "_"))
