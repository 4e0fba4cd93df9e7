"""Layers of the residual U-Net: a norm over channels, blocks that know the time, and changes of the grid."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..networks.blocks import zero_initialize

EPSILON = 1e-6
FREQUENCIES = 1000.0
"""Ratio of the largest to the smallest frequency of a time's features."""


class ChannelNorm(nn.Module):
    """Divide each position by the root of the mean square over its channels, then scale, and modulate if asked.

    No statistic is taken over the grid, so a position has the same values in a crop and in the whole image. Sums are float32.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """Return norm(x) * (1 + scale) + shift, of `b c y x` and of `b c` each."""
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.float32)
        normalised = x * torch.rsqrt(length.square() / x.shape[1] + EPSILON).to(x.dtype)
        if scale is None or shift is None:
            return normalised * self.weight.to(x.dtype)[:, None, None]
        gain = (self.weight * (1 + scale)).to(x.dtype)
        return torch.addcmul(shift.to(x.dtype)[..., None, None], normalised, gain[..., None, None])


class TimedBlock(nn.Module):
    """Add two normalised 3 x 3 convolutions to the input; a time scales and shifts between them (FiLM, arXiv 1709.07871).

    It adds nothing at first.
    """

    is_block = True

    def __init__(self, channels: int, time_channels: int):
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulation = nn.Linear(time_channels, 2 * channels)
        self.norm2 = ChannelNorm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        zero_initialize(self.modulation)
        zero_initialize(self.conv2)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.modulation(time).chunk(2, dim=1)
        residual = self.conv1(silu(self.norm1(x)))
        return x + self.conv2(silu(self.norm2(residual, scale, shift)))


class TimeFeatures(nn.Module):
    """Map times `b` in [0, 1] to `b channels`: sines and cosines, then two linear layers."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.hidden = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, time: Tensor) -> Tensor:
        exponents = torch.linspace(0, 1, self.channels // 2, dtype=torch.float32, device=time.device)
        angles = time.float()[:, None] * FREQUENCIES * torch.exp(-math.log(FREQUENCIES) * exponents)
        waves = torch.cat([angles.sin(), angles.cos()], dim=1)
        return silu(self.out(silu(self.hidden(waves.to(self.hidden.weight.dtype)))))


class HalfGrid(nn.Module):
    """Halve the grid; an odd row or column is repeated first."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] % 2:
            x = torch.cat([x, x[:, :, -1:]], dim=2)
        if x.shape[3] % 2:
            x = torch.cat([x, x[..., -1:]], dim=3)
        return self.conv(x)


class DoubleGrid(nn.Module):
    """Double the grid by pixel shuffle, crop it to that of what the way down kept, and join the two."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.spread = nn.Conv2d(channels, 4 * out_channels, 1)
        self.join = nn.Conv2d(2 * out_channels, out_channels, 1)

    def forward(self, x: Tensor, kept: Tensor) -> Tensor:
        x = functional.pixel_shuffle(self.spread(x), 2)[..., : kept.shape[2], : kept.shape[3]]
        return self.join(torch.cat([x, kept], dim=1))


def silu(x: Tensor) -> Tensor:
    """Return silu(x), in the memory of x where no gradient needs it."""
    return functional.silu(x, inplace=not torch.is_grad_enabled())
