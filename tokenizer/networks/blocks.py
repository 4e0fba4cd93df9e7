"""Layers of the convolutional family: normalisation, residual and attention blocks, changes of the grid."""

from collections import OrderedDict

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

GROUPS = 32


class Norm(nn.Module):
    """Normalise over 32 groups of channels and the whole grid (group), or the channels of each position (pixel).

    The published VQGANs do the first. The second takes no statistic over the grid, so a position has the same values in a
    crop and in the whole image.
    """

    def __init__(self, channels: int, kind: str):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "group":
            # nn.GroupNorm refuses groups of a single value, as 32 channels of a 1 x 1 grid have.
            return torch.group_norm(x, GROUPS, self.weight, self.bias, eps=1e-6)
        rows = rearrange(x, "b d y x -> b y x d")
        rows = functional.layer_norm(rows, (x.shape[1],), self.weight, self.bias, eps=1e-6)
        return rearrange(rows, "b y x d -> b d y x")


def zero_initialize(layer: nn.Module) -> None:
    """Set all parameters of the last layer of a residual to zero, so that it adds nothing at first."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class ResidualBlock(nn.Module):
    """Add two normalised 3 x 3 convolutions to the input; the second starts at zero, so the block starts as identity."""

    def __init__(self, channels: int, out_channels: int, norm: str):
        super().__init__()
        self.norm1 = Norm(channels, norm)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.norm2 = Norm(out_channels, norm)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, out_channels, 1) if channels != out_channels else nn.Identity()
        zero_initialize(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.conv1(functional.silu(self.norm1(x)))
        residual = self.conv2(functional.silu(self.norm2(residual)))
        return self.shortcut(x) + residual


class AttentionBlock(nn.Module):
    """Add single-head self-attention over the grid, with 1 x 1 convolutions as projections."""

    def __init__(self, channels: int, norm: str):
        super().__init__()
        self.norm = Norm(channels, norm)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        zero_initialize(self.out)

    def forward(self, x: Tensor) -> Tensor:
        normalised = self.norm(x)
        query, key, value = (
            rearrange(project(normalised), "b d y x -> b 1 (y x) d") for project in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return x + self.out(rearrange(mixed, "b 1 (y x) d -> b d y x", y=x.shape[2]))


def strided_downsample(channels: int, out_channels: int) -> nn.Module:
    """Halve the grid by a 3 x 3 convolution of stride 2, padded by one row and column at the end only."""
    return sequential(pad=nn.ZeroPad2d((0, 1, 0, 1)), conv=nn.Conv2d(channels, out_channels, 3, stride=2))


def nearest_upsample(channels: int, out_channels: int) -> nn.Module:
    """Double the grid by repetition, then smooth it by a 3 x 3 convolution."""
    return sequential(repeat=nn.Upsample(scale_factor=2.0), conv=nn.Conv2d(channels, out_channels, 3, padding=1))


def shuffle_downsample(channels: int, out_channels: int) -> nn.Module:
    """Halve the grid by moving each 2 x 2 square into the channels, then mix them by a 1 x 1 convolution."""
    return sequential(unshuffle=nn.PixelUnshuffle(2), conv=nn.Conv2d(4 * channels, out_channels, 1))


def shuffle_upsample(channels: int, out_channels: int) -> nn.Module:
    """Double the grid: a 1 x 1 convolution makes four values a position, which become a 2 x 2 square."""
    return sequential(conv=nn.Conv2d(channels, 4 * out_channels, 1), shuffle=nn.PixelShuffle(2))


RESAMPLERS = {"strided": (strided_downsample, nearest_upsample), "shuffle": (shuffle_downsample, shuffle_upsample)}


def sequential(**layers: nn.Module) -> nn.Module:
    """Return layers that run one after another, under the given names."""
    return nn.Sequential(OrderedDict(layers))
