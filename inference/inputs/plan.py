"""From the INPUTs of a command to output shards: which images go into which shard, under which keys."""

import os
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from ...images.finding.index import file_size
from ...images.finding.inputs import Input, expand_inputs, printable
from .image_names import shortened
from .keep import KEEP_ALL, Keep
from .keys import unique_keys
from .loose_images import LOOSE_PATTERN, LooseImage, LooseImages, loose_shard
from .samples import PlannedShard
from .tar_samples import tar_shard

TYPICAL_IMAGE = 100_000
"""Bytes of an image's file, for estimates."""
SIDECAR_ENDING = ".json"
"""The longest ending that the name of a shard gets."""


@dataclass(frozen=True)
class Plan:
    """All output shards of a call, in order."""

    shards: list[PlannedShard]
    loose: list[LooseImage]
    """Images that are files of their own, in order."""
    shard_size: int
    """Of these in a shard."""
    passed_over: Counter[str]
    """Files in folders that are neither images nor carried over, by kind."""
    repeated: int
    """Inputs that were given more than once, the first time not counted."""
    files: list[str]
    """Paths of everything that goes in."""

    def estimated_images(self) -> int:
        """Return roughly how many images there are, without reading the shards."""
        return sum(file_size(path) for path in self.files) // TYPICAL_IMAGE

    def with_loose(self, shards: list[PlannedShard]) -> "Plan":
        """Return the plan with other shards for the loose images."""
        return replace(self, shards=[*(s for s in self.shards if not re.fullmatch(LOOSE_PATTERN, s.name)), *shards])


def plan_shards(inputs: list[str], shard_size: int, out: Path | None = None, keep: Keep = KEEP_ALL) -> Plan:
    """Plan the output shards of image files, folders, .tar shards (brace ranges) and .txt lists of these.

    A tar gives a shard of the same name; all other images are gathered, in order, `shard_size` to a shard. The folder
    `out` is left out where it lies in a folder that is walked.
    Raises ValueError when an input is missing, nothing is found, or a tar has a name that is taken.
    """
    tars: list[Input] = []
    loose = LooseImages(keep)
    for given in expand_inputs(inputs):
        if os.path.isdir(given.path):
            loose.add_folder(given.path, str(out) if out else None)
        elif given.path.lower().endswith(".tar") and not given.problem:
            tars.append(given)
        else:
            loose.add_file(given)
    if not tars and not loose.images:
        raise ValueError(f"No images in {', '.join(inputs)}: give image files, folders, .tar shards or a .txt list.")
    paths, repeated = _distinct([given.path for given in tars])
    files = [*paths, *(image.path for image in loose.images)]
    return Plan(
        shards=[tar_shard(path, _stem(path), keep) for path in paths] + _loose_shards(loose.images, shard_size),
        loose=loose.images,
        shard_size=shard_size,
        passed_over=loose.passed_over,
        repeated=loose.repeated + repeated,
        files=files,
    )


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


def _distinct(tars: list[str]) -> tuple[list[str], int]:
    """Return each tar once, and how many were given again."""
    seen: dict[str, str] = {}
    distinct = []
    for path in tars:
        name = _stem(path)
        if name in seen and os.path.realpath(seen[name]) == os.path.realpath(path):
            continue
        if name in seen:
            raise ValueError(
                f"{seen[name]} and {path} would both become {name}.tar: tokenize them into different folders."
            )
        if name == "manifest" or re.fullmatch(LOOSE_PATTERN, name):
            raise ValueError(
                f"{path} would become {name}.json, a name that vistok gives to a file of its own: rename it."
            )
        seen[name] = path
        distinct.append(path)
    return distinct, len(tars) - len(distinct)


def _loose_shards(images: list[LooseImage], shard_size: int) -> list[PlannedShard]:
    keys = unique_keys([printable(image.name) for image in images])
    return [
        loose_shard(number, images[start : start + shard_size], keys[start : start + shard_size])
        for number, start in enumerate(range(0, len(images), shard_size))
    ]


def _stem(path: str) -> str:
    return shortened(printable(os.path.splitext(os.path.basename(path))[0]), SIDECAR_ENDING).removesuffix(
        SIDECAR_ENDING
    )
