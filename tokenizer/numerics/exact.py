"""One result per image, whatever its neighbours, the number of threads and the settings of the process.

A convolution rounds differently at another batch size or number of threads, and between two nearly equal codes that would
change a token. So a network sees all images of one shape in batches of one shape: on a CPU each image alone, on one thread; on
other devices batches of a fixed size, the last one padded.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from .float32 import own_numerics
from .threads import spread

Network: TypeAlias = Callable[[Tensor], tuple[Tensor, ...]]
"""From a batch to its results, each with one row per image."""

DEVICE_BATCH = 16
MAX_PIXELS = 1 << 22
"""Max pixels of a batch, which has fewer images where these are large."""


def batch_for(batch_size: int, height: int, width: int) -> int:
    """Return how many images of `height` x `width` go through a network together."""
    return max(1, min(batch_size, MAX_PIXELS // (height * width)))


def in_batches(images: Iterable[Tensor], batch_size: int = DEVICE_BATCH) -> Iterator[Tensor]:
    """Join consecutive images `1 c h w` of one shape into batches `b c h w`, in order."""
    waiting: list[Tensor] = []
    for image in images:
        if waiting and (image.shape != waiting[0].shape or len(waiting) == batch_for(batch_size, *image.shape[2:])):
            yield torch.cat(waiting)
            waiting = []
        waiting.append(image)
    if waiting:
        yield torch.cat(waiting)


def run_exactly(network: Network, batch: Tensor, device: torch.device, batch_size: int) -> tuple[Tensor, ...]:
    """Return `network(batch)`, calculated on `device` in float32, each row a pure function of its own image.

    `batch` is of any size and on any device. A CPU ignores `batch_size` and spreads the images over as many threads as torch
    may use. The results are on `device`, without gradients.
    """
    with own_numerics(device):
        if device.type == "cpu":
            parts = spread(partial(_alone, network, device), batch.split(1), torch.get_num_threads())
        else:
            parts = [filled_up(network, part.to(device), batch_size) for part in batch.split(batch_size)]
        return tuple(torch.cat(values) for values in zip(*parts, strict=True))


def _alone(network: Network, device: torch.device, image: Tensor) -> tuple[Tensor, ...]:
    with own_numerics(device):  # again, since this may be another thread
        return network(image.to(device))


def filled_up(network: Network, part: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Return `network(part)`, calculated in a batch of `batch_size` that is padded with zeros."""
    missing = batch_size - len(part)
    filled = torch.cat([part, part.new_zeros(missing, *part.shape[1:])]) if missing else part
    return tuple(values[: len(part)] for values in network(filled))
