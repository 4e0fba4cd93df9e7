"""Convolutional layers of networks that are convolutional at fine grids and transformers at the coarsest."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from ..shapes import Latent, Pixels
from .blocks import zero_initialize
from .convolutional import COLOURS
from .norms import Norm
from .resampling import Repeat

Change = Literal["down", "up"] | None
EXPANSION = 4


def doubled(channels: int, out_channels: int) -> nn.Sequential:
    """Double the grid by repetition, then convolve it by 3 x 3."""
    return nn.Sequential(Repeat(), nn.Conv2d(channels, out_channels, 3, padding=1))


def halved(channels: int, out_channels: int) -> nn.Sequential:
    """Halve the grid by the mean of 3 x 3 positions within the image, then change the channels by a 1 x 1 convolution."""
    pool = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)
    return nn.Sequential(pool, nn.Conv2d(channels, out_channels, 1) if channels != out_channels else nn.Identity())


class Stem(nn.Module):
    """Two 3 x 3 convolutions, the first of which halves the grid."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(COLOURS, channels, 3, stride=2, padding=1)
        self.norm = Norm(channels, "pixel")
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, pixels: Pixels) -> Latent:
        return self.conv2(functional.gelu(self.norm(self.conv1(pixels))))


class InvertedBottleneck(nn.Module):
    """Add a depthwise 3 x 3 convolution between two of 1 x 1, with four times the channels, to the input: ViTamin's MBConv-LN.

    It may halve or double the grid, in the middle and in the shortcut. It starts as its shortcut.
    See arXiv 2404.02132, section 3.3.
    """

    is_block = True

    def __init__(self, channels: int, out_channels: int, change: Change):
        super().__init__()
        hidden = EXPANSION * out_channels
        self.norm = Norm(channels, "pixel")
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.up = doubled(hidden, hidden) if change == "up" else nn.Identity()
        self.depthwise = nn.Conv2d(hidden, hidden, 3, stride=2 if change == "down" else 1, padding=1, groups=hidden)
        self.contract = nn.Conv2d(hidden, out_channels, 1)
        self.shortcut = _shortcut(channels, out_channels, change)
        zero_initialize(self.contract)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.up(functional.gelu(self.expand(self.norm(x))))
        residual = self.contract(functional.gelu(self.depthwise(residual)))
        return residual + self.shortcut(x)


def _shortcut(channels: int, out_channels: int, change: Change) -> nn.Module:
    if change is not None:
        return {"down": halved, "up": doubled}[change](channels, out_channels)
    return nn.Conv2d(channels, out_channels, 1) if channels != out_channels else nn.Identity()


def build_stages(widths: Sequence[int], blocks: Sequence[int], change: Literal["down", "up"]) -> nn.Sequential:
    """Build a stage of blocks for each grid, from the width before it; its first block changes the grid."""
    stages = (
        [InvertedBottleneck(before, width, change), *(InvertedBottleneck(width, width, None) for _ in range(count - 1))]
        for (before, width), count in zip(pairwise(widths), blocks, strict=True)
    )
    return nn.Sequential(*(nn.Sequential(*stage) for stage in stages))
