"""Batches of a stream, from this process or from workers, with a state that is exact in both."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader

from .order import part
from .place import Place
from .rows import collate_rows
from .settings import check_same


class StreamLoader:
    """A DataLoader over a stream; made by `TokenStream.loader`.

    Each iteration is one epoch, chosen by `set_epoch`. Workers take turns, so that a state is the number of batches that were
    taken: `state_dict` after a batch, `load_state_dict` before the iteration that continues. That gives the batches that
    would have come, whatever the workers had prepared. Batch size and number of workers must be those of the state.
    """

    def __init__(
        self,
        stream: Iterable[Any],
        place: Place,
        facts: Mapping[str, Any],
        batch_size: int,
        drop_last: bool,
        options: Mapping[str, Any],
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, but must be at least 1.")
        if not options.get("in_order", True):
            raise ValueError("in_order=False gives batches as they come, which cannot be resumed: leave it out.")
        self._place = place
        self._facts = {**facts, "batch_size": batch_size, "drop_last": drop_last}
        self._taken = 0
        self._is_resumed = False
        self._loader: DataLoader[Any] = DataLoader(
            stream,  # type: ignore[arg-type]
            batch_size=batch_size,
            drop_last=drop_last,
            **{"collate_fn": collate_rows, **options},
        )

    def __len__(self) -> int:
        """Return the batches of a whole epoch for this rank."""
        size, workers = self._facts["batch_size"], self._facts["workers"]
        rows = [len(part(range(self._facts["rows"]), worker, workers)) for worker in range(workers)]
        return sum(count // size if self._facts["drop_last"] else -(-count // size) for count in rows)

    def __iter__(self) -> Iterator[Any]:
        self._taken = self._taken if self._is_resumed else 0
        self._is_resumed = False
        self._place.set_given(self._taken, self._facts["batch_size"])
        for batch in self._loader:
            self._taken += 1
            yield batch

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; a state of another epoch is left behind."""
        if epoch != self._place.epoch:
            self._is_resumed = False
            self._taken = 0
        self._place.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return where the iteration is, as plain data: after the batch that was taken last."""
        return {"epoch": self._place.epoch, "batches": self._taken, "facts": dict(self._facts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue at a state in the next iteration; raise ValueError, naming what differs, when it is of other batches."""
        check_same(state["facts"], self._facts, state["epoch"])
        self._place.set_epoch(state["epoch"])
        self._taken, self._is_resumed = state["batches"], True
