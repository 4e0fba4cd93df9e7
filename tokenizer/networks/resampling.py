"""Layers that halve or double the grid."""

from torch import Tensor, nn
from torch.nn import functional


class StridedDownsample(nn.Module):
    """Halve the grid by a 3 x 3 convolution of stride 2, padded by one row and column at the end only."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.pad(x, (0, 1, 0, 1)))


class NearestUpsample(nn.Module):
    """Double the grid by repetition, then smooth it by a 3 x 3 convolution."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))


class ShuffleDownsample(nn.Module):
    """Halve the grid by moving each 2 x 2 square into the channels, then mix them by a 1 x 1 convolution."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(4 * channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.pixel_unshuffle(x, 2))


class ShuffleUpsample(nn.Module):
    """Double the grid: a 1 x 1 convolution makes four values a position, which become a 2 x 2 square."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.pixel_shuffle(self.conv(x), 2)


RESAMPLERS = {"strided": (StridedDownsample, NearestUpsample), "shuffle": (ShuffleDownsample, ShuffleUpsample)}
