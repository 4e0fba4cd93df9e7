"""Batches are one copy of their images, and mean the same pixels on every device."""

import numpy as np
import pytest
import torch

from vistok.images.preprocessing import stack_pixels
from vistok.inference.arithmetic import as_pixels
from vistok.inference.tokenize.collate import collate_for, stack_bytes
from vistok.tokenizer.numerics.transfer import to_device

EVERY = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)


def images(count, seed=0):
    return [EVERY, *np.random.default_rng(seed).integers(0, 256, (count - 1, 16, 16, 3), dtype=np.uint8)]


def test_bytes_and_pixels_are_the_same_images():
    assert collate_for(torch.device("cpu")) is stack_pixels and collate_for(torch.device("cuda", 0)) is stack_bytes
    batch = images(4)
    stacked = stack_bytes(batch)
    assert stacked.dtype == torch.uint8 and np.array_equal(stacked.numpy(), np.stack(batch))
    assert torch.equal(as_pixels(stacked), stack_pixels(batch))
    # Not the product with the rounded inverse, which is what a GPU makes of a division by a number.
    levels = np.arange(256, dtype=np.float32)
    product = levels * (np.float32(1) / np.float32(127.5)) - np.float32(1)
    assert (product != as_pixels(stacked)[0, 0].flatten().numpy()).any()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gets_the_pixels_of_the_cpu_without_a_wait():
    device = torch.device("cuda")
    batches = [images(8, seed) for seed in range(12)]
    as_pixels(to_device(stack_bytes(batches[0]), device))  # which takes the memory
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = [as_pixels(to_device(stack_bytes(batch), device)) for batch in batches]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for pixels, batch in zip(found, batches, strict=True):
        assert stack_bytes(batch).is_pinned() and torch.equal(pixels.cpu(), stack_pixels(batch))
