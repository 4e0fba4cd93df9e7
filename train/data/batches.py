"""Batches of crops for each process, read by worker processes."""

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
from .crops import TrainingCrops


class Batch(NamedTuple):
    """The crops of one process in one step."""

    crops: Tensor
    """uint8 `b h w c`."""
    unreadable: list[str]
    """Name and reason of each image that could not be read and was replaced."""


class _Batches(Dataset[Batch | Exception]):
    """Batches by their positions, or errors in their place: one raised in a worker would arrive with the worker's stack."""

    def __init__(self, crops: TrainingCrops):
        self.crops = crops

    def __getitem__(self, positions: range) -> Batch | Exception:
        try:
            crops = [self.crops[position] for position in positions]
        except (WorkFailedError, OSError, MemoryError) as error:
            return error
        return Batch(torch.stack([crop.pixels for crop in crops]), [name for crop in crops for name in crop.unreadable])


def _leave_signals_to_main(_worker: int) -> None:
    """Leave signals and messages to the main process: it gets reading errors as values, and others through torch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A SIGTERM to the whole group (timeout, a scheduler) ends the main process too; torch would add a traceback about
    # the killed worker.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    # A thread of multiprocessing would report the connection that an interrupted main process dropped.
    sys.excepthook = lambda *_: None


def training_batches(
    crops: TrainingCrops, start_step: int, steps: int, rank: int, world_size: int, micro_batches: int = 1
) -> Iterator[Batch]:
    """Return the batches of one process for the steps from `start_step` to `steps`.

    Iterating raises WorkFailedError at a source that cannot be read, or at an unreadable image if on_error is stop.
    """
    config = crops.config
    if config.batch_size % (world_size * micro_batches):
        raise ValueError(
            f"data.batch_size is {config.batch_size}, but must be a multiple of the processes times run.gradient_accumulation, "
            f"{world_size} x {micro_batches}: change it."
        )
    local_batch = config.batch_size // world_size
    starts = (step * config.batch_size + rank * local_batch for step in range(start_step, steps))
    # More workers than cores are the user's choice.
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    loader = DataLoader(
        _Batches(crops),
        batch_size=None,  # the dataset makes batches itself
        sampler=(range(start, start + local_batch) for start in starts),
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_leave_signals_to_main,
        generator=torch.Generator(),  # otherwise each new loader draws from the run's generator, and resuming is not exact
    )
    return _raise_errors(loader)


def _raise_errors(batches: Iterable[Batch | Exception]) -> Iterator[Batch]:
    for batch in batches:
        if isinstance(batch, Exception):
            raise batch
        yield batch
