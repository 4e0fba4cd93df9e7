"""Where a stream is, in memory that the workers of a DataLoader share, so that it also reaches those that persist."""

import torch


class Place:
    """Epoch, and what a loader has given of it before its workers begin."""

    def __init__(self) -> None:
        self._numbers = torch.zeros(4, dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """The epoch of the next iteration."""
        return int(self._numbers[0])

    @property
    def batches(self) -> int:
        """Batches that a loader has given."""
        return int(self._numbers[1])

    @property
    def batch_size(self) -> int:
        """Rows of each of them."""
        return int(self._numbers[2])

    @property
    def is_read_by_workers(self) -> bool:
        """Whether a worker has iterated over the stream."""
        return bool(self._numbers[3])

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; raise ValueError for a negative one."""
        if epoch < 0:
            raise ValueError(f"The epoch is {epoch}, but must be a number from 0 on.")
        self._numbers[0] = epoch

    def set_given(self, batches: int, batch_size: int) -> None:
        """Set what a loader has given."""
        self._numbers[1], self._numbers[2] = batches, batch_size

    def note_worker(self) -> None:
        """Note that a worker iterates."""
        self._numbers[3] = 1


def batches_of(given: int, consumer: int, consumers: int) -> int:
    """Return how many of the batches that a loader has given are of one of its workers, which take turns."""
    return max(0, -(-(given - consumer) // consumers))
