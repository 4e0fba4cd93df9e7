"""A collection that grew: what was done stays in its shards, what is new goes into new ones."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..images.index import file_entry
from ..images.inputs import printable
from .keys import keys_with_endings, told_apart
from .loose_images import LOOSE_PATTERN, LooseImage, loose_shard
from .plan import Plan
from .samples import PlannedShard
from .shards import Sidecar, sidecars
from .token_tar import stored_samples
from .unreadable import UnreadableInputError, input_sha256


def grown(plan: Plan, folder: Path) -> tuple[Plan, int]:
    """Regroup the loose images of a plan around the shards that are done, and return how many are in none of these.

    A plan whose shards are those of the folder stays as it is. Raises ValueError when a shard holds images that were
    given now and others that were not, and UnreadableInputError when one is damaged.
    """
    done = {path.name: path for path in sidecars(folder) if re.fullmatch(LOOSE_PATTERN, path.name)}
    planned = {shard.name: shard.inputs for shard in plan.shards}
    if all(planned.get(name) == sidecar.inputs for name, sidecar in done.items()):
        return plan, 0
    rows = {name: _rows(folder, sidecar) for name, sidecar in done.items()}
    by_name = _ByName(plan.loose, Counter(row.source for shard in rows.values() for row in shard))
    shards: dict[str, PlannedShard] = {}
    keys: dict[int, str] = {}
    for name, sidecar in done.items():
        found = _found(folder / sidecar.shard, rows[name], by_name)
        if found:
            keys |= found
            images = [plan.loose[index] for index in sorted(found)]
            shards[name] = loose_shard(_number(name), images, [found[index] for index in sorted(found)])
    new = _new_shards(plan, keys, {_number(name) for name in done})
    return plan.with_loose(sorted([*shards.values(), *new], key=lambda shard: shard.name)), len(plan.loose) - len(keys)


class _Row(NamedTuple):
    """An image of a shard that is done."""

    key: str
    source: str
    sha256: str
    """Of its bytes; empty when it failed."""


class _ByName:
    """The loose images that are in no shard yet, by name; several may have one, from different folders."""

    def __init__(self, images: Sequence[LooseImage], done: Counter[str]):
        self._images = images
        self._indices: dict[str, list[int]] = {}
        for index, image in enumerate(images):
            self._indices.setdefault(printable(image.name), []).append(index)
        self._grown = {name for name, indices in self._indices.items() if len(indices) > done[name]}
        """Names that images have which are in no shard: only by its bytes one of a shard is known among them."""

    def take(self, row: _Row) -> int | None:
        """Take out the index of an image, or None when there is none of its name."""
        indices = self._indices.get(row.source, [])
        if not indices:
            return None
        is_sought = row.source in self._grown and len(indices) > 1 and row.sha256
        same = (index for index in indices if is_sought and self._sha256(index) == row.sha256)
        index = next(same, indices[0])
        indices.remove(index)
        return index

    def _sha256(self, index: int) -> str:
        image = self._images[index]
        return "" if image.problem else input_sha256(file_entry(image.path, image.name))


def _rows(folder: Path, sidecar: Sidecar) -> list[_Row]:
    """List what a shard was made of."""
    shard = folder / sidecar.shard
    try:
        facts = [(sample.key, sample.facts()) for sample in stored_samples(shard)]
    except ValueError as error:
        raise UnreadableInputError(
            f"{shard} is not a whole token shard ({str(error).rstrip('.')}): remove it, and the same command makes it again."
        ) from None
    rows = [_Row(key, fact["source"], fact.get("sha256", "")) for key, fact in facts]
    return rows + [_Row(failure.key, failure.source, "") for failure in sidecar.failures]


def _found(shard: Path, rows: list[_Row], by_name: _ByName) -> dict[int, str]:
    """Return the indices of the loose images that a shard was made of, with their keys; none when none was given now."""
    taken = [(row, by_name.take(row)) for row in rows]
    found = {index: row.key for row, index in taken if index is not None}
    missing = [row.source for row, index in taken if index is None]
    if found and missing:
        raise ValueError(
            f"{shard} holds {missing[0]}, which is not among the images given now: give it too, or use "
            "another --out folder, or --overwrite."
        )
    return found


def _new_shards(plan: Plan, done: dict[int, str], numbers: set[int]) -> list[PlannedShard]:
    """Gather the images that are in no shard, under keys that no other image has."""
    names = [printable(image.name) for image in plan.loose]
    candidates = keys_with_endings(names)
    rest = [index for index in range(len(names)) if index not in done]
    keys = told_apart([candidates[index] for index in rest], done.values())
    free = (number for number in range(len(numbers) + len(rest)) if number not in numbers)
    shards = []
    for start in range(0, len(rest), plan.shard_size):
        images: list[LooseImage] = [plan.loose[index] for index in rest[start : start + plan.shard_size]]
        shards.append(loose_shard(next(free), images, keys[start : start + plan.shard_size]))
    return shards


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])
