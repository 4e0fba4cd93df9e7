"""From the INPUTs of a command to output shards: which pictures go into which shard, under which keys."""

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..images.index import Entry, file_entry, file_size, folder_files, is_picture, shard_entries
from ..images.inputs import expand_inputs, printable
from .keys import unique_keys, webdataset_key

LOOSE_SHARD = "pictures-{:05d}"
TYPICAL_PICTURE = 100_000
"""Bytes of a picture's file, for estimates."""


@dataclass(frozen=True)
class Sample:
    """A picture to tokenize: its key in the output shard and where its bytes are."""

    key: str
    source: str
    entry: Entry | None
    problem: str = ""
    """Why there is no entry."""


@dataclass(frozen=True)
class PlannedShard:
    """One output shard: samples are listed when its turn comes, `inputs` changes when what goes in changes."""

    name: str
    inputs: str
    samples: Callable[[], list[Sample]]
    """Raises ValueError when the input shard is damaged."""


@dataclass(frozen=True)
class Plan:
    """All output shards of a call, in order."""

    shards: list[PlannedShard]
    passed_over: int
    """Files in folders that were left out because of their endings."""
    files: list[str]
    """Paths of everything that goes in."""
    input_bytes: int
    """Size of everything that goes in."""

    @property
    def estimated_pictures(self) -> int:
        """Roughly how many pictures there are, known without reading the shards."""
        return self.input_bytes // TYPICAL_PICTURE


def plan_shards(inputs: list[str], shard_size: int, out: Path | None = None) -> Plan:
    """Plan the output shards of picture files, folders, .tar shards (brace ranges) and .txt lists of these.

    A tar gives a shard of the same name; all other pictures are gathered, in order, `shard_size` to a shard. The folder
    `out` is left out where it lies in a folder that is walked.
    Raises ValueError when an input is missing, nothing is found, or a tar has a name that is taken.
    """
    tars: list[str] = []
    loose: list[tuple[str, str]] = []  # (path, name)
    passed_over = 0
    for path, _ in expand_inputs(inputs):
        if os.path.isdir(path):
            names = folder_files(path, left_out=str(out) if out else None)
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
    files = [*tars, *(path for path, _ in loose)]
    shards = [_tar_shard(path) for path in _distinct(tars)] + _loose_shards(loose, shard_size)
    return Plan(shards, passed_over, files, sum(file_size(path) for path in files))


def refuse_overwriting(plan: Plan, outputs: list[Path]) -> None:
    """Raise ValueError when a file that will be written is one of those that will be read."""
    there = {_identity(path): path for path in outputs if path.exists()}
    for path in plan.files if there else []:
        output = there.get(_identity(path)) if os.path.exists(path) else None
        if output is not None:
            raise ValueError(f"{printable(path)} would be overwritten by {output}: give another --out folder.")


def _identity(path: str | Path) -> tuple[int, int]:
    facts = os.stat(path)
    return facts.st_dev, facts.st_ino


def _distinct(tars: list[str]) -> list[str]:
    seen: dict[str, str] = {}
    for path in tars:
        name = _stem(path)
        if name in seen:
            raise ValueError(
                f"{seen[name]} and {path} would both become {name}.tar: tokenize them into different folders."
            )
        if name == "manifest" or re.fullmatch(r"pictures-\d{5}", name):
            raise ValueError(
                f"{path} would become {name}.json, a name that vistok gives to a file of its own: rename it."
            )
        seen[name] = path
    return tars


def _tar_shard(path: str) -> PlannedShard:
    facts = [_stem(path), str(os.path.getsize(path))]
    return PlannedShard(_stem(path), _digest(facts), lambda: _tar_samples(path))


def _tar_samples(path: str) -> list[Sample]:
    # Files of one key form a sample, as webdataset groups them; its picture is the first with a picture's ending.
    groups: dict[str, list[Entry]] = {}
    for entry in shard_entries(path):
        groups.setdefault(webdataset_key(entry.name), []).append(entry)
    return [sample for key, entries in groups.items() for sample in _samples(key, entries)]


def _samples(key: str, entries: list[Entry]) -> list[Sample]:
    pictures = [entry for entry in entries if is_picture(entry.name)]
    if os.path.basename(key) == "":
        return [
            Sample(key, entry.name, None, f"{entry.name} has nothing before its dot for a key") for entry in pictures
        ]
    if not pictures:
        return [Sample(key, entries[0].name, None, "the sample has no file with a picture's ending")]
    first, *others = pictures
    return [
        Sample(key, first.name, first),
        *(Sample(key, entry.name, None, f"{entry.name} shares its key with {first.name}") for entry in others),
    ]


def _loose_shards(files: list[tuple[str, str]], shard_size: int) -> list[PlannedShard]:
    keys = unique_keys([printable(name) for _, name in files])
    shards = []
    for number, start in enumerate(range(0, len(files), shard_size)):
        part = slice(start, start + shard_size)
        entries = [file_entry(path, name) for path, name in files[part]]
        samples = [Sample(key, entry.name, entry) for key, entry in zip(keys[part], entries, strict=True)]
        facts = [f"{entry.name} {entry.size}" for entry in entries]
        shards.append(PlannedShard(LOOSE_SHARD.format(number), _digest(facts), samples.copy))
    return shards


def _stem(path: str) -> str:
    return printable(os.path.splitext(os.path.basename(path))[0])


def _digest(facts: list[str]) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
