"""Where the rows of shards are: the place of each row, and the hash of its key, 12 bytes a row or fewer."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np

from ...images.tars.blocks import DamagedShard
from ..token_shards.formats import SeekableFormat, open_samples, shard_files
from .folder import Shard, TokenFolder


class ShardIndex(NamedTuple):
    """The rows of one shard."""

    places: np.ndarray
    """Where each row is, uint32 or uint64; empty where the index of a row says it."""
    hashes: np.ndarray
    """Hashes of the keys, uint64."""

    def place(self, row: int) -> int:
        """Return the place of a row."""
        return int(self.places[row]) if self.places.size else row


def hash_of(key: str) -> int:
    """Return 64 bits of a key, the same in every process."""
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def scan_keys(folder: TokenFolder, shard: str) -> Iterator[tuple[str, int]]:
    """Yield the key of each row of a shard and its place; raise DamagedShard, and OSError."""
    shard_format = folder.shard_format
    if not isinstance(shard_format, SeekableFormat):
        with open_samples(folder.store, shard, shard_format) as samples:
            yield from ((sample.key, index) for index, sample in enumerate(samples))
        return
    with ExitStack() as stack:
        files = [stack.enter_context(folder.store.open(name)) for name in shard_files(shard, shard_format)]
        try:
            yield from shard_format.scan(files)
        except ValueError as error:
            raise DamagedShard(f"{folder.store.path_of(shard)} {error}") from None


def scan_shard(folder: TokenFolder, shard: Shard) -> ShardIndex:
    """Read where the rows of a shard are; raise DamagedShard when it is damaged or has another number of rows."""
    places = np.empty(shard.rows, np.uint64)
    hashes = np.empty(shard.rows, np.uint64)
    count = 0
    for count, (key, place) in enumerate(scan_keys(folder, shard.name), 1):
        if count <= shard.rows:
            places[count - 1], hashes[count - 1] = place, hash_of(key)
    if count != shard.rows:
        raise DamagedShard(
            f"{folder.store.path_of(shard.name)} holds {count} rows, but its sidecar counts {shard.rows}: run verify-tokens."
        )
    return ShardIndex(_compact(places), hashes)


def _compact(places: np.ndarray) -> np.ndarray:
    if np.array_equal(places, np.arange(len(places), dtype=np.uint64)):
        return places[:0].copy()
    return places.astype(np.uint32) if places.max() < 1 << 32 else places


class KeyTable:
    """Rows by the hashes of their keys."""

    def __init__(self, indices: Sequence[ShardIndex]):
        hashes = np.concatenate([index.hashes for index in indices])
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._rows = order.astype(np.uint32) if len(order) < 1 << 32 else order

    def rows(self, key: str) -> list[int]:
        """Return the rows whose key has the same hash, in order."""
        wanted = np.uint64(hash_of(key))
        first, last = (int(np.searchsorted(self._hashes, wanted, side)) for side in ("left", "right"))
        return [int(row) for row in self._rows[first:last]]
