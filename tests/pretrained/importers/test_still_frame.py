"""Layers over time, on an image that is repeated, against convolutions in three dimensions."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from vistok.pretrained.importers import still_frame


def causal(video, kernels, bias, stride=1):
    """Convolve over time, with two frames of zeros before the first."""
    return functional.conv3d(functional.pad(video, (1, 1, 1, 1, 2, 0)), kernels, bias, stride=(stride, 1, 1))


@pytest.mark.parametrize("halvings", [1, 2, 3])
def test_layers_that_halve_the_frames(halvings):
    torch.manual_seed(halvings)
    layers = [(torch.randn(3, 3, 4, 3, 3), torch.randn(3)) for _ in range(halvings)]
    image = torch.randn(2, 3, 5, 6)
    frames = 2**halvings
    video = image[:, :, None].expand(-1, -1, frames, -1, -1)
    found = image
    for index, (kernels, bias) in enumerate(layers):
        video = functional.silu(causal(video, kernels, bias, stride=2))
        flat, flat_bias = (still_frame.shrinking(each, frames, is_still=index == 0) for each in (kernels, bias))
        frames //= 2
        found = functional.silu(functional.conv2d(found, flat, flat_bias, padding=1))
    assert video.shape[2] == 1
    torch.testing.assert_close(found, video[:, :, 0], atol=1e-3, rtol=1e-4)


def test_the_first_frame_sees_the_last_of_a_kernel_alone():
    torch.manual_seed(0)
    kernels, bias = torch.randn(3, 3, 3, 3, 3), torch.randn(3)
    image = torch.randn(2, 3, 5, 6)
    expected = causal(image[:, :, None].expand(-1, -1, 2, -1, -1), kernels, bias)[:, :, 0]
    found = functional.conv2d(image, still_frame.last(kernels), bias, padding=1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_batch_norms_become_part_of_a_block():
    torch.manual_seed(0)
    norms = {f"norm{index}": nn.BatchNorm3d(3).eval() for index in (1, 2)}
    layers = {f"conv{index}": nn.Conv3d(3, 3, 3) for index in (1, 2)}
    tensors = {}
    for name, norm in norms.items():
        for buffer in (norm.weight, norm.bias, norm.running_mean):
            nn.init.normal_(buffer)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        tensors |= {f"stack.0.{name}.{key}": value.detach() for key, value in norm.state_dict().items()}
    for name, layer in layers.items():
        tensors |= {f"stack.0.{name}.conv.{key}": value.detach() for key, value in layer.state_dict().items()}
    names = ("weight", "bias", "conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias")
    block = {name: still_frame.block_weight(name, "stack.0", tensors.__getitem__) for name in names}

    image = torch.randn(2, 3, 5, 6)
    video = image[:, :, None]
    with torch.no_grad():
        first = causal(functional.silu(norms["norm1"](video)), *layers["conv1"].parameters())
        expected = video + causal(functional.silu(norms["norm2"](first)), *layers["conv2"].parameters())
    scaled = image * block["weight"].view(3, 1, 1) + block["bias"].view(3, 1, 1)
    first = functional.conv2d(functional.silu(scaled), block["conv1.weight"], block["conv1.bias"], padding=1)
    found = image + functional.conv2d(functional.silu(first), block["conv2.weight"], block["conv2.bias"], padding=1)
    torch.testing.assert_close(found, expected[:, :, 0], atol=1e-5, rtol=1e-5)
