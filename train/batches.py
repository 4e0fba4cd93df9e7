"""Crops to batches: the positions that each process sees, read by workers."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .data import DataConfig, TrainingCrops


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


class _Attempts(Dataset[Tensor | ValueError]):
    """Crops, or the errors in their place: raised in a worker, an error would come with that one's whole stack."""

    def __init__(self, crops: TrainingCrops):
        self.crops = crops

    def __getitem__(self, position: int) -> Tensor | ValueError:
        try:
            return self.crops[position]
        except ValueError as error:
            return error


def _batch(attempts: list[Tensor | ValueError]) -> Tensor | ValueError:
    crops = []
    for attempt in attempts:
        if isinstance(attempt, ValueError):
            return attempt
        crops.append(attempt)
    return torch.stack(crops)


def _raising(batches: Iterable[Tensor | ValueError]) -> Iterator[Tensor]:
    for batch in batches:
        if isinstance(batch, ValueError):
            raise batch
        yield batch


def training_batches(
    config: DataConfig, seed: int, start_step: int, steps: int, rank: int, world_size: int, micro_batches: int = 1
) -> Iterator[Tensor]:
    """Return the batches of one process: uint8 `b h w c` for the steps from `start_step` to `steps`.

    A picture that cannot be read raises ValueError with its name when its turn comes.
    """
    if config.batch_size % (world_size * micro_batches):
        raise ValueError(
            f"data.batch_size is {config.batch_size}, but must be a multiple of the processes times run.micro_batches, "
            f"{world_size} x {micro_batches}: change it."
        )
    loader = DataLoader(
        _Attempts(TrainingCrops(config, seed)),
        collate_fn=_batch,
        batch_sampler=_Positions(start_step, steps, config.batch_size, rank, world_size),
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
        generator=torch.Generator(),  # or each new loader would take a number from the run's, and a resumed run go astray
    )
    return _raising(loader)
