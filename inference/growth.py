"""A collection that grew: what was done stays in its shards, what is new goes into new ones."""

import re
from collections.abc import Sequence
from pathlib import Path

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
    by_name = _ByName(plan.loose)
    shards: dict[str, PlannedShard] = {}
    keys: dict[int, str] = {}
    for name, sidecar in done.items():
        found = _found(folder, sidecar, by_name)
        if found:
            keys |= found
            images = [plan.loose[index] for index in sorted(found)]
            shards[name] = loose_shard(_number(name), images, [found[index] for index in sorted(found)])
    new = _new_shards(plan, keys, {_number(name) for name in done})
    return plan.with_loose(sorted([*shards.values(), *new], key=lambda shard: shard.name)), len(plan.loose) - len(keys)


class _ByName:
    """The loose images that are in no shard yet, by name; several may have one, from different folders."""

    def __init__(self, images: Sequence[LooseImage]):
        self._images = images
        self._indices: dict[str, list[int]] = {}
        for index, image in enumerate(images):
            self._indices.setdefault(printable(image.name), []).append(index)

    def take(self, name: str, sha256: str) -> int | None:
        """Take out the index of an image; of several, the one with these bytes, or else the first."""
        indices = self._indices.get(name, [])
        if not indices:
            return None
        same = (
            (index for index in indices if self._sha256(index) == sha256) if len(indices) > 1 and sha256 else iter(())
        )
        index = next(same, indices[0])
        indices.remove(index)
        return index

    def _sha256(self, index: int) -> str:
        image = self._images[index]
        return "" if image.problem else input_sha256(file_entry(image.path, image.name))


def _found(folder: Path, sidecar: Sidecar, by_name: _ByName) -> dict[int, str]:
    """Return the indices of the loose images that a shard was made of, with their keys; none when none was given now."""
    shard = folder / sidecar.shard
    try:
        facts = [(sample.key, sample.facts()) for sample in stored_samples(shard)]
    except ValueError as error:
        raise UnreadableInputError(
            f"{shard} is not a whole token shard ({str(error).rstrip('.')}): remove it, and the same command makes it again."
        ) from None
    rows = [(key, fact["source"], fact.get("sha256", "")) for key, fact in facts]
    rows += [(failure.key, failure.source, "") for failure in sidecar.failures]
    found: dict[int, str] = {}
    missing = []
    for key, source, sha256 in rows:
        index = by_name.take(source, sha256)
        if index is None:
            missing.append(source)
        else:
            found[index] = key
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
