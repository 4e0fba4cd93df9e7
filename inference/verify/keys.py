"""Keys that several rows of a folder have."""

from collections.abc import Iterator, Mapping
from contextlib import suppress

import numpy as np

from ...images.tars.blocks import DamagedShard
from ..token_dataset.folder import TokenFolder
from ..token_dataset.shard_index import hash_of, scan_keys
from .problems import Problem


def repeated_keys(folder: TokenFolder, hashes: Mapping[str, np.ndarray]) -> Iterator[Problem]:
    """Name each key of several rows, by the hashes of the keys of each shard; the keys alone are read again."""
    values, counts = np.unique(np.concatenate([*hashes.values(), np.zeros(0, np.uint64)]), return_counts=True)
    repeated = values[counts > 1]
    shards_of: dict[str, list[str]] = {}
    wanted = set(repeated.tolist())
    for shard in [shard for shard, row in hashes.items() if wanted and np.isin(row, repeated).any()]:
        with suppress(DamagedShard, OSError):  # what was read before counts, and the damage is a problem of its own
            for key, _ in scan_keys(folder, shard):
                if hash_of(key) in wanted:
                    shards_of.setdefault(key, []).append(shard)
    for key, shards in shards_of.items():
        if len(shards) > 1:
            where = ", ".join(dict.fromkeys(shards))
            yield Problem("keys", shards[0], key, f"is the key of {len(shards)} rows, in {where}")
