"""A collection that grew: what was done stays in its shards, what is new goes into new ones."""

import re
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ...images.finding.index import file_entry
from ...images.finding.inputs import printable
from ..inputs.keys import keys_with_endings, told_apart
from ..inputs.loose_images import LOOSE_PATTERN, LooseImage, loose_shard
from ..inputs.plan import Plan
from ..inputs.samples import PlannedShard
from ..inputs.unreadable import UnreadableInputError, input_sha256
from ..token_shards.sidecar import Sidecar, sidecars
from ..token_shards.webdataset_format import stored_samples


class _Row(NamedTuple):
    """An image in a shard, or among its failures."""

    shard: str
    key: str
    source: str
    sha256: str
    """Of its file; empty for a failure."""


def grown(plan: Plan, folder: Path) -> tuple[Plan, int]:
    """Regroup the loose images of a plan around the shards that are done, and return how many are in none of these.

    A plan whose shards are those of the folder stays as it is. Raises ValueError when a shard holds images that were
    given now and others that were not, and UnreadableInputError when one is damaged.
    """
    done = {path.name: path for path in sidecars(folder) if re.fullmatch(LOOSE_PATTERN, path.name)}
    planned = {shard.name: shard.inputs for shard in plan.shards}
    if all(planned.get(name) == sidecar.inputs for name, sidecar in done.items()):
        return plan, 0
    rows = {name: _rows(folder / sidecar.shard, sidecar) for name, sidecar in done.items()}
    indices = _indices([row for shard_rows in rows.values() for row in shard_rows], plan.loose)
    shards: dict[str, PlannedShard] = {}
    keys: dict[int, str] = {}
    for name, sidecar in done.items():
        found = {index: row.key for row in rows[name] if (index := indices.get(row)) is not None}
        if not found:
            continue
        missing = [row.source for row in rows[name] if row not in indices]
        if missing:
            raise ValueError(
                f"{folder / sidecar.shard} holds {missing[0]}, which is not among the images given now: give it too, or use "
                "another --out folder, or --overwrite."
            )
        keys |= found
        images = [plan.loose[index] for index in sorted(found)]
        shards[name] = loose_shard(_number(name), images, [found[index] for index in sorted(found)])
    new = _new_shards(plan, keys, {_number(name) for name in done})
    return plan.with_loose(sorted([*shards.values(), *new], key=lambda shard: shard.name)), len(plan.loose) - len(keys)


def _rows(shard: Path, sidecar: Sidecar) -> list[_Row]:
    """Return what a shard was made of."""
    try:
        samples = [(sample.key, sample.facts()) for sample in stored_samples(shard)]
    except ValueError as error:
        raise UnreadableInputError(
            f"{shard} is not a whole token shard ({str(error).rstrip('.')}): remove it, and the same command makes it again."
        ) from None
    rows = [_Row(shard.name, key, facts["source"], str(facts.get("sha256"))) for key, facts in samples]
    return rows + [_Row(shard.name, failure.key, failure.source, "") for failure in sidecar.failures]


def _indices(rows: Sequence[_Row], loose: Sequence[LooseImage]) -> dict[_Row, int]:
    """Return which loose image each row is of: the one of its name, and where several have it, of its bytes."""
    by_name: dict[str, list[int]] = {}
    for index, image in enumerate(loose):
        by_name.setdefault(printable(image.name), []).append(index)
    names = {row.source for row in rows}
    by_bytes: dict[tuple[str, str], list[int]] = {}
    for name, indices in by_name.items():
        for index in indices if name in names and len(indices) > 1 else []:
            by_bytes.setdefault((name, _sha256(loose[index])), []).append(index)
    found = {row: same.pop(0) for row in rows if (same := by_bytes.get((row.source, row.sha256)))}
    taken = set(found.values())
    left = {name: deque(index for index in indices if index not in taken) for name, indices in by_name.items()}
    return found | {row: left[row.source].popleft() for row in rows if row not in found and left.get(row.source)}


def _sha256(image: LooseImage) -> str:
    with suppress(UnreadableInputError):
        return "" if image.problem else input_sha256(file_entry(image.path, image.name))
    return ""


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
