"""How a multi-scale quantizer brings the codes of each scale to the size of the latent."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...shapes import Latent


class Smoothers(nn.ModuleList):
    """Enlarge codes to the grid of the latent and blend them with their smoothed form, `fraction` of the sum.

    There are at most `smoothers` convolutions; `of_scale` has the index of each scale's, or neighbouring scales share them.
    """

    def __init__(self, dim: int, scales: int, smoothers: int, of_scale: Sequence[int] | None, fraction: float):
        count = min(smoothers, scales)
        super().__init__(nn.Conv2d(dim, dim, 3, padding=1) for _ in range(count))
        self.of_scale = list(of_scale or shared_smoothers(scales, count))
        self.fraction = fraction

    def forward(self, codes: Tensor, scale: int, size: tuple[int, int]) -> Latent:
        """Return the codes of the scale with index `scale` at the size of the latent."""
        enlarged = codes
        if codes.shape[2:] != size:
            enlarged = functional.interpolate(codes, size=size, mode="bicubic")
        return torch.lerp(enlarged, self[self.of_scale[scale]](enlarged), self.fraction)


def shared_smoothers(scales: int, smoothers: int) -> list[int]:
    """Return the index of each scale's smoother: the one whose tick is nearest to the scale's position in [0, 1].

    The ticks are those of https://github.com/FoundationVision/VAR: even steps from 1 / (3 K) to 1 - 1 / (3 K) for K = 4
    smoothers, from 1 / (2 K) to 1 - 1 / (2 K) for other K.
    """
    first = 1 / 3 / smoothers if smoothers == 4 else 1 / 2 / smoothers
    step = (1 - first - first) / max(1, smoothers - 1)
    ticks = [first + step * index for index in range(smoothers)]
    positions = [index / max(1, scales - 1) for index in range(scales)]
    return [min(range(smoothers), key=lambda index: abs(ticks[index] - position)) for position in positions]


def check_smoothers(of_scale: Sequence[int] | None, scales: int, smoothers: int) -> None:
    """Raise ValueError unless `of_scale` is None or has the index of a smoother for each scale."""
    count = min(smoothers, scales)
    if of_scale is not None and (len(of_scale) != scales or max(of_scale) >= count):
        raise ValueError(
            f"smoother_of_scale is {of_scale}, but must have an index from 0 to {count - 1} for each of {scales} scales."
        )
