"""From the INPUTs of a command to output shards: which images go into which shard, and under which keys."""

import os
import re
from collections import Counter
from dataclasses import dataclass

from ...images.file_entry import printable
from ...images.finding.inputs import Input, expand_inputs
from .companions import KEEP_ALL, Keep
from .keys import file_name, keys_of_names, make_unique
from .loose_images import LOOSE_PATTERN, LooseImage, LooseImages, loose_shard
from .samples import ShardTask
from .tar_samples import TarSource

SIDECAR_SUFFIX = ".json"


@dataclass(frozen=True)
class Plan:
    """All output shards of a call, in order."""

    shards: list[ShardTask]
    loose: list[LooseImage]
    """Loose images, each a file, in order."""
    shard_size: int
    passed_over: Counter[str]
    """Files in folders that are neither images nor carried over, by kind."""
    repeated: int
    """Inputs that were given more than once, the first time not counted."""
    files: list[str]


def plan_shards(
    inputs: list[str], shard_size: int, out: str | None = None, keep: Keep = KEEP_ALL, suffix: str = SIDECAR_SUFFIX
) -> Plan:
    """Plan the output shards of image files, folders, .tar shards (brace ranges) and .txt lists of these.

    A tar gives a shard of the same name; other images are gathered in order. A walk skips the folder `out`.
    Raises ValueError when an input is missing, nothing is found, or a tar has a name that is taken.
    """
    longest = max(suffix, SIDECAR_SUFFIX, key=len)
    tars: list[Input] = []
    loose = LooseImages(keep)
    for given in expand_inputs(inputs):
        if os.path.isdir(given.path):
            loose.add_folder(given.path, out)
        elif given.path.lower().endswith(".tar") and not given.problem:
            tars.append(given)
        else:
            loose.add_file(given)
    if not tars and not loose.images:
        raise ValueError(f"No images in {', '.join(inputs)}: give image files, folders, .tar shards or a .txt list.")
    names, repeated = _shard_names([given.path for given in tars], longest)
    files = [*names.values(), *(image.path for image in loose.images)]
    sources = [TarSource(path, name, keep) for name, path in names.items()]
    keys = make_unique(keys_of_names([printable(image.name) for image in loose.images]))
    keyed = [image._replace(key=key) for image, key in zip(loose.images, keys, strict=True)]
    groups = [keyed[start : start + shard_size] for start in range(0, len(keyed), shard_size)]
    return Plan(
        shards=[ShardTask(source.name, source, source.digest()) for source in sources]
        + [loose_shard(index, group) for index, group in enumerate(groups)],
        loose=loose.images,
        shard_size=shard_size,
        passed_over=loose.passed_over,
        repeated=loose.repeated + repeated,
        files=files,
    )


def refuse_overwriting(plan: Plan, outputs: list[str]) -> None:
    """Raise ValueError when an output file, a path or a URL, is one of the input files."""
    there = {identity: path for path in outputs if (identity := _identity(path))}
    for path in plan.files if there else []:
        output = there.get(_identity(path))
        if output is not None:
            raise ValueError(f"{printable(path)} would be overwritten by {output}: give another --out folder.")


def _identity(path: str) -> tuple[int, int] | str:
    """Return what is the same for all paths to a file that is there, or the URL itself; "" for a file that is not there."""
    try:
        state = os.stat(path)
    except OSError:
        return path if "://" in path else ""
    return state.st_dev, state.st_ino


def _shard_names(tars: list[str], suffix: str) -> tuple[dict[str, str], int]:
    """Return each tar once, by the name of its shard, and how many were given again."""
    paths: dict[str, str] = {}
    for path in tars:
        stem = printable(os.path.splitext(os.path.basename(path))[0])
        name = file_name(stem, suffix).removesuffix(suffix)
        if name in paths and os.path.realpath(paths[name]) == os.path.realpath(path):
            continue
        if name in paths:
            raise ValueError(
                f"{paths[name]} and {path} would both become the shard {name}: tokenize them into different folders."
            )
        if name == "manifest" or re.fullmatch(LOOSE_PATTERN, name):
            raise ValueError(f"{path} would become {name}.json, a file name that vistok uses itself: rename it.")
        paths[name] = path
    return paths, len(tars) - len(paths)
