"""From the INPUTs of a command to output shards: which images go into which shard, and under which keys."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from ...images.file_entry import file_size, printable
from ...images.finding.inputs import ALLOWED_ANYWHERE
from ...tokenizer.remote_files import protocol_of
from .companions import KEEP_ALL, Keep
from .found_inputs import InputShard, find_inputs
from .input_files import digest, object_state
from .keys import file_name
from .loose_images import LOOSE_PATTERN, LooseImage, loose_shard
from .parquet_columns import require_pyarrow
from .parquet_samples import ParquetSource, check_columns
from .samples import ShardTask
from .tar_samples import TarSource
from .unusual_keys import unusual_keys

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
    shard_files: list[InputShard]
    """Tars and parquet files, each once."""

    def files(self) -> Iterator[str]:
        """Yield the paths and URLs of all inputs."""
        yield from (file.path for file in self.shard_files)
        yield from (image.path for image in self.loose)

    def size(self) -> int:
        """Return the bytes of all inputs, as far as they are known."""
        found = [file.found for file in self.shard_files if file.found]
        found += [image.objects[0] for image in self.loose if image.objects]
        return sum(max(each.size, 0) for each in found) + sum(map(file_size, self.files()))


def plan_shards(
    inputs: list[str],
    shard_size: int,
    out: str | None = None,
    keep: Keep = KEEP_ALL,
    suffix: str = SIDECAR_SUFFIX,
    image_column: str = "",
) -> Plan:
    """Plan the output shards of image files, folders, .tar shards (brace ranges), parquet files, URLs and .txt lists of these.

    A tar or a parquet file gives a shard of the same name; other images are gathered in order. A walk skips the folder `out`.
    Raises ValueError when an input is missing, nothing is found, or a tar has a name that is taken; OSError when a store of
    URLs does not answer.
    """
    found = find_inputs(inputs, keep, out)
    loose = found.loose.images
    if not found.shards and not loose:
        raise ValueError(f"No images in {', '.join(inputs)}: {ALLOWED_ANYWHERE}.")
    _check_parquet(found.shards, image_column)
    named, repeated = _shard_names(found.shards, max(suffix, SIDECAR_SUFFIX, key=len))
    for index, key in unusual_keys([printable(image.name) for image in loose]).items():
        loose[index] = loose[index]._replace(unusual_key=key)
    groups = (loose[start : start + shard_size] for start in range(0, len(loose), shard_size))
    return Plan(
        shards=[_shard_task(name, file, keep, image_column) for name, file in named.items()]
        + [loose_shard(index, group) for index, group in enumerate(groups)],
        loose=loose,
        shard_size=shard_size,
        passed_over=found.loose.passed_over,
        repeated=found.loose.repeated + repeated,
        shard_files=list(named.values()),
    )


def _check_parquet(files: list[InputShard], image_column: str) -> None:
    """Raise ValueError when pyarrow is missing, or the first parquet file, unless it is damaged, has no column of images.

    So it does for a column that no input can have.
    """
    first = next((file for file in files if file.is_parquet), None)
    if first is None and image_column:
        raise ValueError(f"--image-column is {image_column}, but no input is a parquet file with images: leave it out.")
    if first is not None:
        require_pyarrow(first.path)
        check_columns(first.path, image_column)


def _shard_task(name: str, file: InputShard, keep: Keep, image_column: str) -> ShardTask:
    source = ParquetSource(file.path, name, keep, image_column) if file.is_parquet else TarSource(file.path, name, keep)
    return ShardTask(name, source, digest([object_state(file.found, name)]) if file.found else source.digest())


def refuse_overwriting(plan: Plan, outputs: list[str]) -> None:
    """Raise ValueError when an output file, a path or a URL, is one of the input files."""
    there = {identity: path for path in outputs if (identity := _identity(path))}
    for path in plan.files() if there else ():
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


def _shard_names(files: list[InputShard], suffix: str) -> tuple[dict[str, InputShard], int]:
    """Return each tar and parquet file once, by the name of its shard, and how many were given again."""
    named: dict[str, InputShard] = {}
    for file in files:
        stem = printable(os.path.splitext(file.base)[0])
        name = file_name(stem, suffix).removesuffix(suffix)
        before = named.setdefault(name, file)
        if before is not file and _real(before.path) != _real(file.path):
            raise ValueError(
                f"{before.path} and {file.path} would both become the shard {name}: tokenize them into different folders."
            )
        if name == "manifest" or re.fullmatch(LOOSE_PATTERN, name):
            raise ValueError(f"{file.path} would become {name}.json, a file name that vistok uses itself: rename it.")
    return named, len(files) - len(named)


def _real(path: str) -> str:
    return path if protocol_of(path) else os.path.realpath(path)
