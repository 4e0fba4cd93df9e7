"""The keys of images in shards, from the names of their files."""

import hashlib
import os
import posixpath
from collections import Counter
from collections.abc import Iterable

MAX_NAME_BYTES = 255
_CONTROLS = dict.fromkeys([*range(32), 127], "_")


def webdataset_key(name: str) -> str:
    """Return webdataset's key of a file in a tar: the name up to the first dot of its last part."""
    folder, base = posixpath.split(name)
    return posixpath.join(folder, base.split(".")[0])


def webdataset_extension(name: str) -> str:
    """Return the rest of the name, without the first dot: `seg.png` of `x/1.seg.png`."""
    return posixpath.basename(name).partition(".")[2]


def normalised_key(key: str) -> str:
    """Return a key as a path below any folder: `../up`, `/abs`, `./dot` and `a//b` become `up`, `abs`, `dot`, `a/b`."""
    return posixpath.normpath("/" + key).lstrip("/")


def given_key(value: str) -> str:
    """Return text as a key of webdataset: normalised, with _ for each dot of its last part and each control character.

    Nothing is left of some: `/` and `..` become "".
    """
    folder, base = posixpath.split(normalised_key(value))
    return posixpath.join(folder, base.replace(".", "_")).translate(_CONTROLS)


class UniqueKeys:
    """Keys that have been given out, each once."""

    def __init__(self, taken: Iterable[str] = ()):
        self._used = set(taken)
        self._last_numbers: dict[str, int] = {}  # of keys that were asked for again: counting from 2 would be quadratic

    def add(self, key: str) -> str:
        """Normalise a key and return it; one that is taken gets the first free number appended, counted from 2."""
        normalised = normalised_key(key)
        candidate = key = key if key == normalised else normalised  # the object that the caller has, which saves memory
        if key in self._used:
            number = self._last_numbers.get(key, 1)
            while candidate in self._used:
                number += 1
                candidate = f"{key}_{number}"
            self._last_numbers[key] = number
        self._used.add(candidate)
        return candidate


def make_unique(keys: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return normalised keys, each once, as `UniqueKeys` does."""
    unique = UniqueKeys(taken)
    return [unique.add(key) for key in keys]


def name_key(name: str) -> str:
    """Return the key of a file name: its path without the ending, and no dot in its last part."""
    folder, base = posixpath.split(os.path.splitext(name)[0])
    return normalised_key(posixpath.join(folder, base.replace(".", "_")))


def keys_of_names(names: list[str]) -> list[str]:
    """Make webdataset keys (no dot in the last part) of file names; to those that are equal, append their endings."""
    plain = list(map(name_key, names))
    counts = Counter(plain)
    return [key_with_ending(name) if counts[key] > 1 else key for key, name in zip(plain, names, strict=True)]


def key_with_ending(name: str) -> str:
    """Return the key of a name of which another has the same key."""
    return f"{name_key(name)}_{os.path.splitext(name)[1].lstrip('.').lower()}"


def file_name(name: str, ending: str) -> str:
    """Return name and ending as one file name; a name that is too long is cut and gets a hash of the whole appended."""
    if len(os.fsencode(name + ending)) <= MAX_NAME_BYTES:
        return name + ending
    end = f"-{hashlib.sha256(name.encode()).hexdigest()[:12]}{ending}"
    return name.encode()[: MAX_NAME_BYTES - len(end)].decode(errors="ignore") + end
