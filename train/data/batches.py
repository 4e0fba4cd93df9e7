"""Crops to batches: the positions that each process sees, read by workers."""

import os
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ...tokenizer.errors import WorkFailedError
from .crops import Crop, TrainingCrops


class Batch(NamedTuple):
    """What one process sees in one step."""

    crops: Tensor
    """uint8 `b h w c`."""
    unreadable: list[str]
    """Of each image that could not be read, the name and why; others took their places."""


class _Positions:
    """The positions that one process sees, batch by batch, from a step on."""

    def __init__(self, start_step: int, steps: int, batch_size: int, rank: int, world_size: int):
        self.steps = range(start_step, steps)
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size

    def __iter__(self) -> Iterator[list[int]]:
        share = self.batch_size // self.world_size
        for step in self.steps:
            first = step * self.batch_size + self.rank * share
            yield list(range(first, first + share))

    def __len__(self) -> int:
        return len(self.steps)


class _Attempts(Dataset[Crop | Exception]):
    """Crops, or the errors in their place: raised in a worker, an error would come with that one's whole stack."""

    def __init__(self, crops: TrainingCrops):
        self.crops = crops

    def __getitem__(self, position: int) -> Crop | Exception:
        try:
            return self.crops[position]
        except (WorkFailedError, OSError, MemoryError) as error:
            return error


def _batch(attempts: list[Crop | Exception]) -> Batch | Exception:
    crops = []
    for attempt in attempts:
        if isinstance(attempt, Exception):
            return attempt
        crops.append(attempt)
    return Batch(torch.stack([crop.pixels for crop in crops]), [name for crop in crops for name in crop.unreadable])


def _raising(batches: Iterable[Batch | Exception]) -> Iterator[Batch]:
    for batch in batches:
        if isinstance(batch, Exception):
            raise batch
        yield batch


def _leave_to_the_main_process(_worker: int) -> None:
    """Leave signals and words to the main process: errors of reading reach it as values, others through torch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # One that went to the whole group (timeout, a scheduler) ends the main process too: that a worker was killed by it, torch
    # would tell with a traceback.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    # A thread of multiprocessing would tell of the connection that an interrupted main process has dropped.
    sys.excepthook = lambda *_: None


def training_batches(
    crops: TrainingCrops, start_step: int, steps: int, rank: int, world_size: int, micro_batches: int = 1
) -> Iterator[Batch]:
    """Return the batches of one process for the steps from `start_step` to `steps`.

    Raises WorkFailedError when the turn comes of a source that cannot be read, or of an unreadable image that is not
    skipped.
    """
    config = crops.config
    if config.batch_size % (world_size * micro_batches):
        raise ValueError(
            f"data.batch_size is {config.batch_size}, but must be a multiple of the processes times run.gradient_accumulation, "
            f"{world_size} x {micro_batches}: change it."
        )
    # More workers than cores are the user's choice.
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    loader = DataLoader(
        _Attempts(crops),
        collate_fn=_batch,
        batch_sampler=_Positions(start_step, steps, config.batch_size, rank, world_size),
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
        worker_init_fn=_leave_to_the_main_process,
        generator=torch.Generator(),  # or each new loader would take a number from the run's, and a resumed run go astray
    )
    return _raising(loader)
