"""Shards that are open for reading at random, a few at a time, in each process anew."""

import copy
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice

from ...images.tars.blocks import DamagedShard
from ..token_shards.formats import SeekableFormat, open_samples, shard_files
from ..token_shards.token_samples import StoredSample
from .folder import TokenFolder
from .rows import LoadedRow, load_row

MAX_OPEN = 8
"""Shards that are open at a time; of a parquet shard, a group of rows is in memory."""
ReadRow = Callable[[int, int], StoredSample]


class OpenShards:
    """Reads rows of a folder; thread-safe. Open files are left behind when it is pickled or its process forks."""

    def __init__(self, folder: TokenFolder, members: frozenset[str] | None):
        self._folder = folder
        self._members = members
        self._begin()

    def read(self, shard: str, row: int, place: int) -> LoadedRow:
        """Return a row by its index in the shard and its place; raise DamagedShard, and OSError."""
        folder = self.folder
        with self._lock:
            try:
                sample = self._opened(shard)(row, place)
            except ValueError as error:
                raise DamagedShard(f"{folder.store.path_of(shard)} {error}") from None
            return load_row(sample, folder, shard, self._members)

    def read_in_order(self, shard: str, first: int, last: int) -> Iterator[LoadedRow]:
        """Yield the rows `first` to `last`, excluded, of a shard that is opened for it; raise as `read`."""
        folder = self.folder
        with open_samples(folder.store, shard, folder.shard_format) as samples:
            at = first
            for sample in islice(samples, first, last):
                yield load_row(sample, folder, shard, self._members)
                at += 1
            if at < last:
                raise DamagedShard(
                    f"{folder.store.path_of(shard)} ends after {at} rows, fewer than its sidecar counts: run verify-tokens."
                )

    @property
    def folder(self) -> TokenFolder:
        """The folder, whose store is of this process."""
        if self._pid != os.getpid():  # a fork shares the positions of open files, and connections, with its parent
            self._folder = self._folder._replace(store=copy.copy(self._folder.store))
            self._close()
            self._begin()
        return self._folder

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._open: OrderedDict[str, tuple[ExitStack, ReadRow]] = OrderedDict()
        self._close = weakref.finalize(self, _close, self._open)

    def _opened(self, shard: str) -> ReadRow:
        if shard not in self._open:
            with ExitStack() as stack:
                read_row = self._open_rows(shard, stack)
                self._open[shard] = stack.pop_all(), read_row
            if len(self._open) > MAX_OPEN:
                _, (closing, _) = self._open.popitem(last=False)
                closing.close()
        self._open.move_to_end(shard)
        return self._open[shard][1]

    def _open_rows(self, shard: str, stack: ExitStack) -> ReadRow:
        folder = self._folder
        shard_format = folder.shard_format
        if isinstance(shard_format, SeekableFormat):
            files = [stack.enter_context(folder.store.open(name)) for name in shard_files(shard, shard_format)]
            return shard_format.open_rows(files)
        return FromTheBeginning(folder, shard, stack)

    def __getstate__(self) -> tuple[TokenFolder, frozenset[str] | None]:
        return self._folder, self._members

    def __setstate__(self, state: tuple[TokenFolder, frozenset[str] | None]) -> None:
        self._folder, self._members = state
        self._begin()


def _close(shards: OrderedDict[str, tuple[ExitStack, ReadRow]]) -> None:
    for stack, _ in shards.values():
        stack.close()
    shards.clear()


class FromTheBeginning:
    """Reads the rows of a format that cannot seek: those before a row are passed; for an earlier one, the shard is reopened."""

    def __init__(self, folder: TokenFolder, shard: str, stack: ExitStack):
        self._folder = folder
        self._shard = shard
        self._stack = stack.enter_context(ExitStack())
        self._next = 0
        self._samples: Iterator[StoredSample] | None = None

    def __call__(self, row: int, _: int) -> StoredSample:
        """Return a row by its index."""
        if self._samples is None or row < self._next:
            self._stack.close()
            folder = self._folder
            self._samples = self._stack.enter_context(open_samples(folder.store, self._shard, folder.shard_format))
            self._next = 0
        for index, sample in enumerate(self._samples, self._next):
            self._next = index + 1
            if index == row:
                return sample
        raise ValueError(f"ends before its row {row}: it is cut or damaged")
