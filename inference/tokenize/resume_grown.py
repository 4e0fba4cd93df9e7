"""Resuming a collection that grew: finished shards stay, and new images go into new shards."""

import re
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from ...images.file_entry import printable
from ...images.tars.blocks import DamagedShard
from ..inputs.input_files import UnreadableInputError, entry_sha256
from ..inputs.keys import keys_of_names, make_unique
from ..inputs.loose_images import LOOSE_PATTERN, LooseImage, loose_shard
from ..inputs.plan import Plan
from ..inputs.samples import ShardTask
from ..inputs.views import image_key
from ..token_shards.formats import ShardFormat, open_samples
from ..token_shards.sidecar import Sidecar, sidecars
from ..token_shards.store import Store


class _Row(NamedTuple):
    """An image in a shard, or among its failures."""

    shard: str
    key: str
    source: str
    sha256: str
    """SHA-256 of its file; empty for a failure."""


def resume_grown(plan: Plan, store: Store, shard_format: ShardFormat) -> tuple[Plan, int]:
    """Regroup the loose images of a plan around the shards that are done; return the plan and the number of new images."""
    done = {sidecar.name: sidecar for sidecar in sidecars(store) if re.fullmatch(LOOSE_PATTERN, sidecar.name)}
    planned = {task.name: task.inputs for task in plan.shards}
    if all(planned.get(name) == sidecar.inputs for name, sidecar in done.items()):
        return plan, 0
    rows = {name: _rows(store, sidecar, shard_format) for name, sidecar in done.items()}
    indices = _indices([row for shard_rows in rows.values() for row in shard_rows], plan.loose)
    old: list[ShardTask] = []
    keys: dict[int, str] = {}
    for name, sidecar in done.items():
        found = {index: row.key for row in rows[name] if (index := indices.get(row)) is not None}
        if not found:
            continue
        missing = [row.source for row in rows[name] if row not in indices]
        if missing:
            raise ValueError(
                f"{store.path_of(sidecar.shard)} holds {missing[0]}, which is not among the images given now: give it "
                "too, or use another --out folder, or --overwrite."
            )
        keys |= found
        images = [plan.loose[index]._replace(unusual_key=found[index]) for index in sorted(found)]
        old.append(loose_shard(_index_of(name), images))
    new = _new_shards(plan, keys, {_index_of(name) for name in done})
    tars = [task for task in plan.shards if not re.fullmatch(LOOSE_PATTERN, task.name)]
    shards = [*tars, *sorted([*old, *new], key=lambda task: task.name)]
    return replace(plan, shards=shards), len(plan.loose) - len(keys)


def _rows(store: Store, sidecar: Sidecar, shard_format: ShardFormat) -> list[_Row]:
    shard = sidecar.shard
    try:
        with open_samples(store, shard, shard_format) as stored:
            samples = [(sample.key, sample.metadata()) for sample in stored]
    except (DamagedShard, ValueError) as error:
        raise UnreadableInputError(
            f"{store.path_of(shard)} is not a whole token shard ({str(error).rstrip('.')}): remove it, and the same "
            "command makes it again."
        ) from None
    images = dict.fromkeys(
        _Row(shard, image_key(key, metadata), metadata["source"], str(metadata.get("sha256")))
        for key, metadata in samples
    )
    return [*images] + [_Row(shard, failure.key, failure.source, "") for failure in sidecar.failures]


def _indices(rows: Sequence[_Row], loose: Sequence[LooseImage]) -> dict[_Row, int]:
    """Match rows to loose images by name, and by their bytes where several have the same name."""
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
        return "" if image.problem else entry_sha256(image.entry())
    return ""


def _new_shards(plan: Plan, done: dict[int, str], taken: set[int]) -> list[ShardTask]:
    """Gather the images that are in no shard, under keys that no other image has; `done` maps indices to keys."""
    candidates = keys_of_names([printable(image.name) for image in plan.loose])
    rest = [index for index in range(len(candidates)) if index not in done]
    keys = make_unique([candidates[index] for index in rest], done.values())
    free = (index for index in range(len(taken) + len(rest)) if index not in taken)
    images = [plan.loose[index]._replace(unusual_key=key) for index, key in zip(rest, keys, strict=True)]
    starts = range(0, len(images), plan.shard_size)
    return [loose_shard(next(free), images[start : start + plan.shard_size]) for start in starts]


def _index_of(name: str) -> int:
    return int(name.rpartition("-")[2])
