"""Layers of a few channels at the grid of the latent, between the networks and the quantizer."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks import zero_initialize


class LatentBlock(nn.Module):
    """Add two 3 x 3 convolutions to the input: y = x + conv2(silu(conv1(silu(w x + b)))), w and b for each channel.

    It takes no statistics. The second convolution starts at zero, so the block starts as identity.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        zero_initialize(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        scaled = x * self.weight[:, None, None] + self.bias[:, None, None]
        return x + self.conv2(functional.silu(self.conv1(functional.silu(scaled))))


def latent_blocks(channels: int, count: int) -> nn.Sequential:
    """Build blocks one after another."""
    return nn.Sequential(*(LatentBlock(channels) for _ in range(count)))


def latent_convolutions(widths: Sequence[int]) -> nn.Sequential:
    """Build 3 x 3 convolutions from each width to the next, each followed by SiLU."""
    layers = ((nn.Conv2d(width, following, 3, padding=1), nn.SiLU()) for width, following in itertools.pairwise(widths))
    return nn.Sequential(*itertools.chain(*layers))
