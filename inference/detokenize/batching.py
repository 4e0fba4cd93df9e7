"""Batches of images of one grid, which decode alike."""

from collections.abc import Iterable, Iterator

import torch

from ...tokenizer.numerics.exact import DEVICE_BATCH, batch_for
from ..arithmetic import MAX_IMAGES
from ..batch_limit import exact_network_batch, whole_batches
from .checking import CheckedImage

WAITING_BYTES = 1 << 26
"""Bytes (64 MB) of images that wait for others of their grid; the group that has waited longest is then decoded as it is."""
MIN_BYTES = 1 << 14
"""Bytes that an image counts at least, with its path and its mark."""


def batches(images: Iterable[CheckedImage], batch_size: int | None) -> Iterator[list[CheckedImage]]:
    """Group images of one grid and one decoder; those of one grid keep their order.

    `batch_size` counts images of 256 x 256, and None takes the default of the device. A batch is of whole batches of the
    networks, except the last ones and those that have waited too long. No pixel depends on it.
    """
    groups: dict[tuple[object, ...], list[CheckedImage]] = {}
    waiting = 0
    for image in images:
        key: tuple[object, ...] = (image.decoder.digest, image.tokens.shape)
        group = groups.setdefault(key, [])
        group.append(image)
        waiting += _bytes(image)
        if len(group) < capacity(image, batch_size):
            if waiting < WAITING_BYTES:
                continue
            key = next(iter(groups))
        full = groups.pop(key)
        waiting -= sum(map(_bytes, full))
        yield full
    yield from groups.values()


def capacity(image: CheckedImage, batch_size: int | None) -> int:
    """Return how many images of the grid of one are decoded together."""
    tokenizer = image.decoder.tokenizer
    device = tokenizer.device.type
    height, width = (side * tokenizer.downsample for side in image.tokens.shape[1:])
    number = batch_for(batch_size or default_batch(device), height, width)
    return whole_batches(number, exact_network_batch(device, tokenizer.batch_size, height, width))


def default_batch(device: str) -> int:
    """Return how many images a batch has on a type of device: on a CPU the same number for each of its threads."""
    if device != "cpu":
        return MAX_IMAGES
    threads = torch.get_num_threads()
    return threads * -(-DEVICE_BATCH // threads)


def _bytes(image: CheckedImage) -> int:
    return max(MIN_BYTES, image.tokens.nbytes)
