"""A stream of rows: shuffled by a seed and an epoch, split over ranks and workers, resumed at any row."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from .loader import StreamLoader
from .open_shards import OpenShards
from .order import BufferedOrder, ShardOrder, draws, part, permutation
from .place import Place, batches_of
from .rows import LoadedRow, TokenRow
from .settings import StreamSettings, check_same


class Consumer(NamedTuple):
    """One of the processes that read for a rank."""

    number: int
    of: int


class TokenStream(IterableDataset[TokenRow]):
    """The rows of a dataset in an order of each epoch; made by `TokenDataset.stream`.

    In an epoch all ranks and their workers together get every row exactly once. Each worker reads neighbouring shards of the
    shuffled order, one after another, and draws its rows from a buffer. The order depends on the seed, the epoch, the ranks
    and the number of workers (0 and 1 are the same), on nothing else. The epoch changes with `set_epoch` alone.

    `loader` gives batches and can be resumed exactly. The stream itself has `state_dict` and `load_state_dict` for a loop
    over its rows, and for torchdata's StatefulDataLoader. A state belongs to one number of ranks and workers: with another
    one it is refused, as the rows that were seen are not the first ones of the other order.
    """

    def __init__(self, shards: OpenShards, settings: StreamSettings):
        self._shards = shards
        self._settings = settings
        self._place = Place()
        self._emitted = 0
        self._resume: Mapping[str, Any] | None = None

    @property
    def rows(self) -> int:
        """Rows of this rank in an epoch."""
        return len(self._of_rank())

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration, also in workers that persist; a state of another epoch is left behind.

        Raises ValueError for a negative number.
        """
        if epoch != self._place.epoch:
            self._emitted, self._resume = 0, None
        self._place.set_epoch(epoch)

    def loader(self, batch_size: int, num_workers: int = 0, *, drop_last: bool = False, **options: Any) -> StreamLoader:
        """Return batches of this stream that can be resumed exactly, from workers too: see StreamLoader.

        `options` are those of torch.utils.data.DataLoader, such as `collate_fn` (by default TokenDataset.collate),
        `pin_memory` or `persistent_workers`.
        """
        stream = TokenStream(self._shards, self._settings)
        stream.set_epoch(self._place.epoch)
        facts, options = stream.facts(max(1, num_workers)), {**options, "num_workers": num_workers}
        return StreamLoader(stream, stream._place, facts, batch_size, drop_last, options)

    def facts(self, workers: int) -> dict[str, Any]:
        """Return all that decides the order of the rows, for a state."""
        rows = {"dataset": self._shards.folder.digest(), "rows": self.rows}
        return {**self._settings._asdict(), "workers": workers, **rows}

    def state_dict(self) -> dict[str, Any]:
        """Return where the iteration is, as plain data: after the row that was given last.

        Raises ValueError in a process whose workers read the rows, since only a loader knows how many were taken.
        """
        if get_worker_info() is None and self._place.is_read_by_workers:
            raise ValueError(
                "The rows of this stream are read by workers, and how many were taken is known to their loader alone: use "
                "the state_dict of stream.loader(...) or of torchdata's StatefulDataLoader."
            )
        return {"epoch": self._place.epoch, "emitted": self._emitted, "facts": self.facts(_consumer().of)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue at a state, in the next iteration, which raises ValueError when the state is of another order."""
        self._resume = state
        self._place.set_epoch(state["epoch"])
        self._emitted = state["emitted"]

    def __iter__(self) -> Iterator[TokenRow]:
        if self._resume is None:
            self._emitted = 0  # at once: a state may be asked for before the first row
        return self._remaining()

    def _remaining(self) -> Iterator[TokenRow]:
        is_worker = get_worker_info() is not None
        if is_worker:
            self._place.note_worker()
        consumer, taken = _consumer(), 0
        if self._resume is not None:
            check_same(self._resume["facts"], self.facts(consumer.of), self._place.epoch)
            taken, self._resume = self._resume["emitted"], None
        elif is_worker or self._place.batches:
            consumer, taken = self._after_batches(consumer)
        self._emitted = taken
        for loaded in self._from(consumer, taken):
            self._emitted += 1
            yield loaded.row()

    def _after_batches(self, consumer: Consumer) -> tuple[Consumer, int]:
        """Return whose rows this process reads, and how many were taken, after the batches that a loader has given."""
        given, batch_size = self._place.batches, self._place.batch_size
        index = (consumer.number + given) % consumer.of  # the next batch is that of worker 0
        rows = len(part(self._of_rank(), index, consumer.of))
        return consumer._replace(number=index), min(rows, batches_of(given, index, consumer.of) * batch_size)

    def _of_rank(self) -> range:
        settings, total = self._settings, sum(shard.rows for shard in self._shards.folder.shards)
        over = total % settings.world_size
        if over and settings.uneven != "keep":
            total += -over if settings.uneven == "drop" else settings.world_size - over
        return part(range(total if self._has_rows() else 0), settings.rank, settings.world_size)

    def _has_rows(self) -> bool:
        return any(shard.rows for shard in self._shards.folder.shards)

    def _order(self) -> ShardOrder:
        rows = np.array([shard.rows for shard in self._shards.folder.shards], np.int64)
        epoch, seed = self._place.epoch, self._settings.seed
        is_shuffled = self._settings.shuffle_buffer > 0
        return ShardOrder(rows, permutation(len(rows), "shards", seed, epoch) if is_shuffled else np.arange(len(rows)))

    def _from(self, consumer: Consumer, taken: int) -> Iterator[LoadedRow]:
        """Yield the rows of a consumer after those that were taken."""
        settings, order = self._settings, self._order()
        mine = part(self._of_rank(), consumer.number, consumer.of)
        numbers = draws("rows", settings.seed, self._place.epoch, settings.rank, settings.world_size, *consumer)
        positions = BufferedOrder(len(mine), settings.shuffle_buffer, numbers)
        positions.skip(taken)
        # What was in the buffer is read again, and what comes after it as if nothing had happened.
        at = positions.first_missing()
        coming = self._read(order, mine[at:])
        waiting: dict[int, LoadedRow] = {}
        is_missing = positions.missing()
        for position in positions:
            while position >= at:
                loaded = next(coming)
                if is_missing(at):
                    waiting[at] = loaded
                at += 1
            yield waiting.pop(position)

    def _read(self, order: ShardOrder, positions: range) -> Iterator[LoadedRow]:
        shards = self._shards.folder.shards
        for shard, first, last in order.segments(positions):
            yield from self._shards.read_in_order(shards[shard].name, first, last)


def _consumer() -> Consumer:
    worker = get_worker_info()
    return Consumer(0, 1) if worker is None else Consumer(worker.id, worker.num_workers)
