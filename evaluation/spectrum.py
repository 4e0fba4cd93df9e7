"""How much fine detail reconstructions have: the power of their radial frequency bands beside that of the images.

The spectrum is that of the mean of the colour channels, in float64. Frequencies are radii sqrt(f_y^2 + f_x^2) as a fraction of
the Nyquist frequency, half a cycle per pixel; the corners beyond 1 are left out. An image is multiplied by a Hann window first.
Without one, the jump from its right edge to its left and from the bottom to the top has power at all frequencies, which every
reconstruction keeps: for photo-f8 that is two thirds of what the last band seems to keep (0.12 in place of 0.04).
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..tokenizer.devices import in_float64
from ..tokenizer.shapes import Pixels

EDGES = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0)
"""Of the bands, as fractions of the Nyquist frequency: 16, 32, 64, 96 and 128 cycles of an image of 256 pixels."""
ROUNDING_POWER = (2 / 255) ** 2 / 12 / 3
"""Variance of the error that rounding three channels to uint8 leaves in their mean: power below this is lost in rounding."""


class RadialPower(NamedTuple):
    """The power of each image; that of white noise is its variance at every frequency. On the CPU, in float64."""

    bands: Float[Tensor, "b bands"]
    """Sum over the frequencies of a band, between two neighbours of EDGES, the upper one excluded."""
    rings: Float[Tensor, "b rings"]
    """Mean over the frequencies of a ring one cycle of the shorter side wide, from half a cycle to the Nyquist frequency."""


def radial_power(pixels: Pixels, window: bool = True) -> RadialPower:
    """Return the power of images in [-1, 1]; waits for the device. Raises ValueError when a side is below 16.

    Smaller images have no frequency in the first band.
    """
    height, width = pixels.shape[-2:]
    if min(height, width) < 16:
        raise ValueError(f"A spectrum of {height} x {width} pixels has empty bands: give images of at least 16 x 16.")
    grey = in_float64(pixels).mean(dim=1)
    weights = _hann(height, width).to(grey.device) if window else torch.ones(height, width).to(grey)
    power = torch.fft.rfft2(grey * weights).abs().square().cpu() / weights.square().sum().cpu()
    # Half of the plane is that of negative frequencies, which a real image has twice.
    power[:, :, 1 : (width + 1) // 2] *= 2
    layout = _layout(height, width)
    sums = [power.new_zeros(len(power), count + 1) for count in (len(EDGES) - 1, len(layout.sizes))]
    for total, index in zip(sums, (layout.band, layout.ring), strict=True):
        total.scatter_add_(1, index.expand(len(power), -1), power.flatten(1))
    return RadialPower(sums[0][:, :-1], sums[1][:, :-1] / layout.sizes)


def power_kept(original: Tensor, reconstruction: Tensor) -> list[float]:
    """Return the fraction of the power of each band that is kept, over all images: sum |F(y)|^2 / sum |F(x)|^2.

    Both are `bands` of `radial_power`, ` b bands`. Noise counts as power, whether it looks like the image or not.
    """
    fractions: list[float] = (reconstruction.sum(dim=0) / original.sum(dim=0)).tolist()
    return fractions


def power_returned(before: float, after: float) -> float:
    """Return the fraction of lost power that came back, from the fraction that is kept before and after.

    0 when nothing came back, 1 when there is as much power as in the images, above 1 when there is more.
    """
    return (after - before) / (1 - before)


def spectrum_error(original: Tensor, reconstruction: Tensor) -> Float[Tensor, " b"]:
    """Return the error of the radial power spectrum of each image in dB: the mean over rings of |10 log10(P_y / P_x)|.

    Both are `rings` of `radial_power`. Power below that of rounding to uint8 counts as that much.
    """
    decibels = [10 * rings.clamp_min(ROUNDING_POWER).log10() for rings in (reconstruction, original)]
    return (decibels[0] - decibels[1]).abs().mean(dim=1)


class _Layout(NamedTuple):
    """Of every frequency of half a plane, its band and its ring; those in none have the index after the last."""

    band: Tensor
    ring: Tensor
    sizes: Tensor
    """Frequencies of each ring."""


@lru_cache(maxsize=16)
def _layout(height: int, width: int) -> _Layout:
    with torch.device("cpu"):
        down, across = torch.fft.fftfreq(height).double(), torch.fft.rfftfreq(width).double()
        radii = 2 * (down[:, None].square() + across.square()).sqrt().flatten()
        band = torch.bucketize(radii, torch.tensor(EDGES).double(), right=True) - 1
        half = min(height, width) // 2
        ring = (radii * min(height, width) / 2 - 0.5).floor().long()
        rings = half if min(height, width) % 2 else half - 1
        copies = torch.ones(height, width // 2 + 1)
        copies[:, 1 : (width + 1) // 2] = 2
        ring = torch.where((ring < 0) | (ring >= rings), rings, ring)
        sizes = torch.zeros(rings + 1).double().scatter_add_(0, ring, copies.double().flatten())[:-1]
    return _Layout(torch.where(band < 0, len(EDGES) - 1, band), ring, sizes)


def _hann(height: int, width: int) -> Tensor:
    sides = [torch.hann_window(side, dtype=torch.float64, device="cpu") for side in (height, width)]
    return torch.outer(*sides)
