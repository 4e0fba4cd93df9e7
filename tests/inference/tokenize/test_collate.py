"""Batches get to a device with the bits that the CPU's arithmetic gives, and one copy on the host."""

import numpy as np
import pytest
import torch

from vistok.images.preprocessing import stack_pixels
from vistok.inference.tokenize.collate import BUFFERS, HostBuffer, PinnedCollate, collate_for, pixels_on_device

EVERY = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)


def images(count, side=16, seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8))


def test_the_formula_of_the_device_gives_the_floats_of_the_cpu():
    assert collate_for(torch.device("cpu")) is stack_pixels
    batch = [EVERY, *images(3)]
    found = pixels_on_device(torch.from_numpy(np.stack(batch)), torch.tensor(127.5))
    expected = stack_pixels(batch)
    assert torch.equal(found, expected) and found.stride() == expected.stride() and found.dtype == torch.float32
    # Division by the number 127.5 is a product with its reciprocal on a GPU, which gives other floats.
    levels = np.arange(256, dtype=np.float32)
    product = levels * (np.float32(1) / np.float32(127.5)) - np.float32(1)
    assert (product != expected[0, 0].flatten().numpy()).any()
    assert np.array_equal(expected[0, 0].flatten().numpy(), (levels / np.float32(127.5) - np.float32(1)))


def test_a_buffer_is_filled_again_and_grows():
    buffer = HostBuffer(is_pinned=False)
    for count, side in ((2, 16), (1, 8), (5, 32), (5, 32)):
        batch = images(count, side, count)
        stacked = buffer.stack(batch)
        assert stacked.shape == (count, side, side, 3) and np.array_equal(stacked.numpy(), np.stack(batch))
    assert buffer.stack(images(1)).data_ptr() == stacked.data_ptr()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gets_the_floats_of_the_cpu_without_a_wait():
    collate = collate_for(torch.device("cuda"))
    assert isinstance(collate, PinnedCollate)
    batches = [[EVERY, *images(7, seed=seed)] for seed in range(4 * BUFFERS)]
    collate(batches[0])  # which takes the memory
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = [collate(batch) for batch in batches]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for pixels, batch in zip(found, batches, strict=True):
        assert torch.equal(pixels.cpu(), stack_pixels(batch)) and pixels.stride() == stack_pixels(batch).stride()
