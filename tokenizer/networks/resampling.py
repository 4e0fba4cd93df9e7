"""Changes of the grid between levels of the convolutional family: half the side on the way down, twice on the way up."""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional

from .norms import without_autocast


class Repeat(nn.Module):
    """Double the grid by repetition, in the type of the input: autocast on CUDA would make it float32."""

    def forward(self, x: Tensor) -> Tensor:
        with without_autocast(x):
            return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def strided_downsample(channels: int, out_channels: int) -> nn.Module:
    """Halve the grid by a 3 x 3 convolution of stride 2, padded by one row and column at the end only."""
    return _sequential(pad=nn.ZeroPad2d((0, 1, 0, 1)), conv=nn.Conv2d(channels, out_channels, 3, stride=2))


def nearest_upsample(channels: int, out_channels: int) -> nn.Module:
    """Double the grid by repetition, then smooth it by a 3 x 3 convolution."""
    return _sequential(repeat=Repeat(), conv=nn.Conv2d(channels, out_channels, 3, padding=1))


def shuffle_downsample(channels: int, out_channels: int) -> nn.Module:
    """Halve the grid by moving each 2 x 2 square into the channels, then mix them by a 1 x 1 convolution."""
    return _sequential(unshuffle=nn.PixelUnshuffle(2), conv=nn.Conv2d(4 * channels, out_channels, 1))


def shuffle_upsample(channels: int, out_channels: int) -> nn.Module:
    """Double the grid: a 1 x 1 convolution makes four values a position, which become a 2 x 2 square."""
    return _sequential(conv=nn.Conv2d(channels, 4 * out_channels, 1), shuffle=nn.PixelShuffle(2))


def centred_downsample(channels: int, out_channels: int) -> nn.Module:
    """Halve the grid by a 3 x 3 convolution of stride 2, padded by one row and column on all sides."""
    return _sequential(conv=nn.Conv2d(channels, out_channels, 3, stride=2, padding=1))


def subpixel_upsample(channels: int, out_channels: int) -> nn.Module:
    """Double the grid: a 3 x 3 convolution makes four values a position, which become a 2 x 2 square (arXiv 1609.05158)."""
    return _sequential(conv=nn.Conv2d(channels, 4 * out_channels, 3, padding=1), shuffle=nn.PixelShuffle(2))


def pooled_downsample(channels: int, out_channels: int) -> nn.Module:
    """Halve the grid by the mean of each 2 x 2 square, without weights."""
    assert channels == out_channels, "a mean keeps the channels"
    return nn.AvgPool2d(2)


RESAMPLERS = {
    "strided": (strided_downsample, nearest_upsample),
    "shuffle": (shuffle_downsample, shuffle_upsample),
    "subpixel": (centred_downsample, subpixel_upsample),
    "pooled": (pooled_downsample, nearest_upsample),
}
"""The way down and the way up."""


def _sequential(**layers: nn.Module) -> nn.Module:
    return nn.Sequential(OrderedDict(layers))
