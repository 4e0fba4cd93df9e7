"""From images in host memory to one batch on the device of the encoder."""

from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TypeAlias

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ...images.preprocessing import stack_pixels
from ...tokenizer.shapes import Pixels

Collate: TypeAlias = Callable[[Sequence[np.ndarray]], Pixels]
"""From uint8 images `h w c` of one size to float pixels `b c h w` in [-1, 1], channels-last in memory."""

BUFFERS = 3
"""Batches in pinned memory: one that is filled, one that is copied, and one to spare."""


def collate_for(device: torch.device) -> Collate:
    """Return how batches get to a device; the float values are equal on all."""
    return PinnedCollate(device) if device.type == "cuda" else stack_pixels


class HostBuffer:
    """Memory of the host that batches are stacked in, one after another; it grows with them."""

    def __init__(self, is_pinned: bool):
        self._is_pinned = is_pinned
        self._bytes = torch.empty(0, dtype=torch.uint8)

    def stack(self, images: Sequence[np.ndarray]) -> Tensor:
        """Return images of one size as uint8 `b h w c`, which the next call overwrites."""
        shape = len(images), *images[0].shape
        size = int(np.prod(shape))
        if len(self._bytes) < size:
            self._bytes = torch.empty(size, dtype=torch.uint8, pin_memory=self._is_pinned)
        batch = self._bytes[:size].view(shape)
        for target, image in zip(batch.numpy(), images, strict=True):
            target[:] = image
        return batch


class PinnedCollate:
    """Copies batches to a GPU as uint8 by a stream of its own, and converts them there. Thread-safe; no call waits for it.

    A call waits only where the copy of the batch before the last but one has not ended.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._white = torch.tensor(127.5, device=device)
        self._buffers: SimpleQueue[tuple[HostBuffer, torch.cuda.Event]] = SimpleQueue()
        for _ in range(BUFFERS):
            self._buffers.put((HostBuffer(is_pinned=True), torch.cuda.Event()))

    def __call__(self, images: Sequence[np.ndarray]) -> Pixels:
        """Return the batch on the device, in order for its current stream."""
        current = torch.cuda.current_stream(self._device)
        buffer, is_copied = self._buffers.get()
        try:
            is_copied.synchronize()
            batch = buffer.stack(images)
            with torch.cuda.stream(self._stream):
                copied = batch.to(self._device, non_blocking=True)
                is_copied.record(self._stream)
            current.wait_event(is_copied)
        finally:
            self._buffers.put((buffer, is_copied))
        copied.record_stream(current)  # or the next copy could take its memory too early
        return pixels_on_device(copied, self._white)


def pixels_on_device(images: Tensor, white: Tensor) -> Pixels:
    """Map uint8 `b h w c` to float pixels, with the bits of `stack_pixels`; `white` is 127.5 on the same device.

    A GPU would multiply by the reciprocal of a Python number, which rounds some values differently.
    """
    return rearrange(images, "b h w c -> b c h w").float().div_(white).sub_(1)
