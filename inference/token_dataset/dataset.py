"""`vistok.TokenDataset`: the rows of a folder of token shards, by their index or key."""

import os
from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import accumulate
from operator import index as as_index
from typing import Any, Literal

from torch.utils.data import Dataset

from ...tokenizer.system import usable_cores
from ...tokenizer.wording import pluralize
from ..token_shards.manifest import Manifest
from .folder import open_folder
from .open_shards import OpenShards
from .rows import TokenRow, collate_rows
from .settings import Uneven, settings_of
from .shard_index import KeyTable, ShardIndex, scan_shard
from .stream import TokenStream


class TokenDataset(Dataset[TokenRow]):
    """The rows of a folder that tokenize-images wrote, in any of its formats.

    `folder` is a path or an fsspec URL. A row is read without the rest of its shard; in a parquet shard with its group of
    rows. `members` are extensions of the kept files to read, such as ("txt",). The shards come in the order of their names,
    and stay what they were when the dataset was made. It pickles, and works in the workers of a DataLoader.

    Raises ValueError when the folder is none of tokenize-images, or not whole: a shard without sidecar, cut, or of another
    tokenizer. With `skip_incomplete` these are left out, and `left_out` says which. Reading a damaged row raises
    DamagedShard.
    """

    collate = staticmethod(collate_rows)

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        members: Literal["all"] | Sequence[str] = "all",
        skip_incomplete: bool = False,
    ):
        if isinstance(members, str) and members != "all":
            raise ValueError(f"members is {members!r}, but must be 'all' or a list of extensions such as ['txt'].")
        self._folder = open_folder(os.fspath(folder), skip_incomplete)
        wanted = None if members == "all" else frozenset(name.lstrip(".") for name in members)
        self._shards = OpenShards(self._folder, wanted)
        self._ends = list(accumulate(shard.rows for shard in self._folder.shards))
        self._indices: dict[int, ShardIndex] = {}

    @property
    def manifest(self) -> Manifest:
        """What all shards have in common: model, fingerprint, vocab_size, num_codebooks, preprocessing and more."""
        return self._folder.manifest

    @property
    def left_out(self) -> tuple[str, ...]:
        """What `skip_incomplete` left out, a phrase each."""
        return self._folder.left_out

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, row: int | str) -> TokenRow:
        """Return a row by its index, or by its key.

        Raises IndexError or KeyError when there is none, and KeyError when several rows have the key.
        """
        return self._of_key(row) if isinstance(row, str) else self._read(self._checked(row))

    def __getitems__(self, rows: Sequence[int]) -> list[TokenRow]:
        """Return several rows by their indices, each shard read once; a DataLoader asks for its batches so."""
        checked = list(map(self._checked, rows))
        read = {row: self._read(row) for row in sorted(set(checked))}
        return [read[row] for row in checked]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and bool(self.rows_of(key))

    def rows_of(self, key: str) -> list[int]:
        """Return the indices of all rows that have a key; the first call reads the keys of all shards."""
        return [index for index, _ in self._with_key(key)]

    def shard_of(self, row: int) -> str:
        """Return the name of the shard that holds a row, by its index."""
        return self._folder.shards[bisect_right(self._ends, self._checked(row))].name

    def build_index(self) -> "TokenDataset":
        """Read where all rows are, 8 to 12 bytes a row, and return the dataset.

        Without it each worker does so for a shard when it first reads from it. Workers that start later inherit it.
        """
        with ThreadPoolExecutor(usable_cores()) as pool:
            missing = [shard for shard in range(len(self._folder.shards)) if shard not in self._indices]
            self._indices.update(zip(missing, pool.map(self._scanned, missing), strict=True))
        return self

    def stream(
        self,
        *,
        shuffle_buffer: int = 0,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        uneven: Uneven = "keep",
    ) -> TokenStream:
        """Return the rows as a stream, each once an epoch over all ranks and workers: see TokenStream.

        `shuffle_buffer` is how many rows are in memory to draw from: with 0 the rows come in their order, with 1 the shards
        are shuffled, and with more also the rows. `rank` and `world_size` are those of torch.distributed or torchrun unless
        given. Where the rows do not divide by the ranks, `uneven="keep"` gives some ranks one row more, "drop" leaves up to
        world_size - 1 rows out, others in each epoch, and "repeat" gives as many twice. Raises ValueError for a wrong
        setting.
        """
        return TokenStream(self._shards, settings_of(shuffle_buffer, seed, rank, world_size, uneven))

    def __repr__(self) -> str:
        shards = pluralize(len(self._folder.shards), "shard")
        return f"TokenDataset({self._folder.store}, {pluralize(len(self), 'row')} in {shards}, {self.manifest.format})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_keys"}

    @cached_property
    def _keys(self) -> KeyTable:
        self.build_index()
        return KeyTable([self._indices[shard] for shard in range(len(self._indices))])

    def _scanned(self, shard: int) -> ShardIndex:
        return scan_shard(self._shards.folder, self._folder.shards[shard])

    def _checked(self, row: int) -> int:
        number = as_index(row)
        if not -len(self) <= number < len(self):
            raise IndexError(f"row {number} was asked for, but {self._folder.store} has {len(self)} rows")
        return number % len(self)

    def _with_key(self, key: str) -> list[tuple[int, TokenRow]]:
        candidates = [(index, self._read(index)) for index in self._keys.rows(key)]
        return [(index, row) for index, row in candidates if row.key == key]

    def _of_key(self, key: str) -> TokenRow:
        found = self._with_key(key)
        if not found:
            raise KeyError(f"{self._folder.store} has no row with the key {key!r}")
        if len(found) > 1:
            shards = sorted({self._folder.shards[bisect_right(self._ends, index)].name for index, _ in found})
            raise KeyError(f"{len(found)} rows have the key {key!r} (in {', '.join(shards)}): ask for one by its index")
        return found[0][1]

    def _read(self, row: int) -> TokenRow:
        shard = bisect_right(self._ends, row)
        inside = row - (self._ends[shard - 1] if shard else 0)
        if shard not in self._indices:
            self._indices[shard] = self._scanned(shard)
        place = self._indices[shard].place(inside)
        return self._shards.read(self._folder.shards[shard].name, inside, place).row()
