"""From the INPUTs of a command to output shards: which pictures go into which shard, under which keys."""

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from ..images.index import Entry, expand_inputs, file_entry, folder_files, is_picture, shard_entries

LOOSE_SHARD = "pictures-{:05d}"
TYPICAL_PICTURE = 100_000
"""Bytes of a picture's file, for estimates."""


@dataclass(frozen=True)
class Sample:
    """A picture to tokenize: its key in the output shard and where its bytes are; no entry when there is no picture."""

    key: str
    source: str
    entry: Entry | None


@dataclass(frozen=True)
class PlannedShard:
    """One output shard: samples are listed when its turn comes, `inputs` changes when what goes in changes."""

    name: str
    inputs: str
    samples: Callable[[], list[Sample]]


@dataclass(frozen=True)
class Plan:
    """All output shards of a call, in order."""

    shards: list[PlannedShard]
    passed_over: int
    """Files in folders that were left out because of their endings."""
    input_bytes: int
    """Size of everything that goes in."""

    @property
    def estimated_pictures(self) -> int:
        """Roughly how many pictures there are, known without reading the shards."""
        return self.input_bytes // TYPICAL_PICTURE


def plan_shards(inputs: list[str], shard_size: int) -> Plan:
    """Plan the output shards of picture files, folders, .tar shards (brace ranges) and .txt lists of these.

    A tar gives a shard of the same name; all other pictures are gathered, in order, `shard_size` to a shard.
    Raises ValueError when an input is missing, nothing is found, or two tars have the same name.
    """
    tars: list[str] = []
    loose: list[tuple[str, str]] = []  # (path, name)
    passed_over = 0
    for path in expand_inputs(inputs):
        if os.path.isdir(path):
            names = folder_files(path)
            pictures = [name for name in names if is_picture(name)]
            passed_over += len(names) - len(pictures)
            loose += [(os.path.join(path, name), name) for name in pictures]
        elif path.lower().endswith(".tar"):
            tars.append(path)
        else:
            loose.append((path, os.path.basename(path)))
    if not tars and not loose:
        raise ValueError(
            f"No pictures in {', '.join(inputs)}: give picture files, folders, .tar shards or a .txt list."
        )
    size = sum(os.path.getsize(path) for path in [*tars, *(path for path, _ in loose)])
    return Plan([_tar_shard(path) for path in _distinct(tars)] + _loose_shards(loose, shard_size), passed_over, size)


def _distinct(tars: list[str]) -> list[str]:
    seen: dict[str, str] = {}
    for path in tars:
        name = _stem(path)
        if name in seen:
            raise ValueError(
                f"{seen[name]} and {path} would both become {name}.tar: tokenize them into different folders."
            )
        if re.fullmatch(r"pictures-\d{5}", name):
            raise ValueError(f"{path} has a name that vistok gives to shards of loose pictures: rename it.")
        seen[name] = path
    return tars


def _tar_shard(path: str) -> PlannedShard:
    facts = [_stem(path), str(os.path.getsize(path))]
    return PlannedShard(_stem(path), _digest(facts), lambda: _tar_samples(path))


def _tar_samples(path: str) -> list[Sample]:
    # Files of one key form a sample, as webdataset groups them; its picture is the first with a picture's ending.
    groups: dict[str, list[Entry]] = {}
    for entry in shard_entries(path):
        groups.setdefault(_webdataset_key(entry.name), []).append(entry)
    samples = []
    for key, entries in groups.items():
        picture = next((entry for entry in entries if is_picture(entry.name)), None)
        samples.append(Sample(key, (picture or entries[0]).name, picture))
    return samples


def _loose_shards(files: list[tuple[str, str]], shard_size: int) -> list[PlannedShard]:
    keys = _unique_keys([name for _, name in files])
    shards = []
    for number, start in enumerate(range(0, len(files), shard_size)):
        part = slice(start, start + shard_size)
        samples = [
            Sample(key, name, file_entry(path, name)) for (path, name), key in zip(files[part], keys[part], strict=True)
        ]
        facts = [f"{sample.source} {sample.entry.size if sample.entry else 0}" for sample in samples]
        shards.append(PlannedShard(LOOSE_SHARD.format(number), _digest(facts), samples.copy))
    return shards


def _unique_keys(names: list[str]) -> list[str]:
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


def _webdataset_key(name: str) -> str:
    folder, base = os.path.split(name)
    return os.path.join(folder, base.split(".")[0])


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _digest(facts: list[str]) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
