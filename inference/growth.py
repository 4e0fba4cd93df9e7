"""A collection that grew: what was done stays in its shards, what is new goes into new ones."""

import re
from pathlib import Path

from ..images.inputs import printable
from .keys import keys_with_endings, told_apart
from .loose_images import LOOSE_PATTERN, LooseImage, loose_shard
from .plan import Plan
from .samples import PlannedShard
from .shards import Sidecar, sidecars
from .token_tar import stored_samples
from .unreadable import UnreadableInputError


def grown(plan: Plan, folder: Path) -> tuple[Plan, int]:
    """Regroup the loose images of a plan around the shards that are done, and return how many are in none of these.

    A plan whose shards are those of the folder stays as it is. Raises ValueError when a shard holds images that were
    given now and others that were not, and UnreadableInputError when one is damaged.
    """
    done = {path.name: path for path in sidecars(folder) if re.fullmatch(LOOSE_PATTERN, path.name)}
    planned = {shard.name: shard.inputs for shard in plan.shards}
    if all(planned.get(name) == sidecar.inputs for name, sidecar in done.items()):
        return plan, 0
    by_name: dict[str, list[int]] = {}
    for index, image in enumerate(plan.loose):
        by_name.setdefault(printable(image.name), []).append(index)
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


def _found(folder: Path, sidecar: Sidecar, by_name: dict[str, list[int]]) -> dict[int, str]:
    """Return the indices of the loose images that a shard was made of, with their keys; none when none was given now."""
    shard = folder / sidecar.shard
    try:
        rows = [(sample.facts()["source"], sample.key) for sample in stored_samples(shard)]
    except ValueError as error:
        raise UnreadableInputError(
            f"{shard} is not a whole token shard ({str(error).rstrip('.')}): remove it, and the same command makes it again."
        ) from None
    rows += [(failure.source, failure.key) for failure in sidecar.failures]
    found: dict[int, str] = {}
    missing = []
    for source, key in rows:
        if by_name.get(source):
            found[by_name[source].pop(0)] = key
        else:
            missing.append(source)
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
