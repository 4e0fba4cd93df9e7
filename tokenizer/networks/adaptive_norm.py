"""Group normalisation whose scale and shift follow from the whole latent, before the levels of a decoder."""

from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from ..shapes import Latent
from .levels import Level
from .norms import group_norm


class LatentStatistics(NamedTuple):
    """Statistics of each channel of a latent over the grid, float32 `b d`."""

    std: Tensor
    """Root of the unbiased variance plus 1e-6; the variance of a single position is 0."""
    mean: Tensor


def latent_statistics(latent: Latent) -> LatentStatistics:
    """Return the statistics that adaptive normalisation takes."""
    rows = latent.float().flatten(2)
    mean = rows.mean(dim=2, keepdim=True)
    freedom = cast(int, torch.sym_max(rows.shape[2] - 1, 1))  # max() would fix the grid of an exported graph
    variance = (rows - mean).square().sum(dim=2) / freedom
    return LatentStatistics((variance + 1e-6).sqrt(), mean.squeeze(2))


class AdaptiveGroupNorm(nn.Module):
    """Normalise over 32 groups of channels, then scale by gamma(std) and shift by beta(mean) of the quantized latent.

    gamma and beta are linear; they start at 1 and 0. From Open-MAGVIT2 (arXiv 2409.04410), after arXiv 1703.06868.
    """

    def __init__(self, channels: int, latent_channels: int):
        super().__init__()
        self.gamma = nn.Linear(latent_channels, channels)
        self.beta = nn.Linear(latent_channels, channels)
        for layer, start in ((self.gamma, 1.0), (self.beta, 0.0)):
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.bias, start)

    def forward(self, x: Tensor, statistics: LatentStatistics) -> Tensor:
        dtype = self.gamma.weight.dtype
        scale, shift = self.gamma(statistics.std.to(dtype)), self.beta(statistics.mean.to(dtype))
        normalised = group_norm(x)
        return torch.addcmul(shift[..., None, None], normalised, scale[..., None, None])


def adaptive_norms(levels: Iterable[nn.Module], latent_channels: int) -> nn.ModuleList:
    """Build a normalisation for what enters each level; other layers, which change the grid, get none."""
    widths = [level.channels for level in levels if isinstance(level, Level)]
    return nn.ModuleList(AdaptiveGroupNorm(channels, latent_channels) for channels in widths)
