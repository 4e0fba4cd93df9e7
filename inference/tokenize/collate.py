"""From images in host memory to the batch that an encoder takes."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch

from ...images.preprocessing import stack_pixels
from ...tokenizer.shapes import ImageBytes, Images

Collate: TypeAlias = Callable[[Sequence[np.ndarray]], Images]
"""Joins uint8 images `h w c` of one size."""


def collate_for(device: torch.device) -> Collate:
    """Return how images are joined for a device: as bytes for a GPU, which converts them to the same floats as a CPU."""
    return stack_bytes if device.type == "cuda" else stack_pixels


def stack_bytes(images: Sequence[np.ndarray]) -> ImageBytes:
    """Return images as uint8 `b h w c` in pinned memory where there is a GPU, so that copying them keeps nobody waiting.

    torch keeps that memory, and gives it out again once the copy of the batch before has ended.
    """
    batch = torch.empty(len(images), *images[0].shape, dtype=torch.uint8, pin_memory=torch.cuda.is_available())
    for target, image in zip(batch.numpy(), images, strict=True):
        target[:] = image
    return batch
