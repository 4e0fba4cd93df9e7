"""Convolutions on the Haar transform of squares of pixels, as convolutions on the pixels themselves."""

import math

import torch
from einops import rearrange
from torch import Tensor

COLOURS = 3


def from_pixels(kernels: Tensor) -> Tensor:
    """Convert a first convolution `out (band colour) y x` on the transform to `out (colour pixel) y x` on moved pixels.

    This is exact, zero padding included, as the transform is linear, and a square of zeros is transformed to zeros.
    """
    by_band = rearrange(kernels.double(), "out (band colour) y x -> out band colour y x", colour=COLOURS)
    signs = _signs(by_band.shape[1], kernels.device)
    by_pixel = torch.einsum("obcyx,bp->ocpyx", by_band, signs / len(signs))
    return rearrange(by_pixel, "out colour pixel y x -> out (colour pixel) y x").float()


def to_pixels(tensor: Tensor) -> Tensor:
    """Convert weight or bias `(band colour) ...` of the convolution before the inverse transform to `(colour pixel) ...`."""
    by_band = rearrange(tensor.double(), "(band colour) ... -> band colour ...", colour=COLOURS)
    by_pixel = torch.einsum("bc...,bp->cp...", by_band, _signs(len(by_band), tensor.device))
    return rearrange(by_pixel, "colour pixel ... -> (colour pixel) ...").float()


def _signs(pixels: int, device: torch.device) -> Tensor:
    """Return the signs `band pixel` of the transform of a square; divided by the number of pixels they are the transform.

    Step k of it takes sums and differences of neighbours along y and x, in the means of step k - 1. Bits 2 k and 2 k + 1 of a
    band say which of the two it is along y and x; a pixel has the sign -1 in a difference if bit k of its index is 1.
    """
    side = math.isqrt(pixels)
    codes = [_interleaved(pixel // side, pixel % side) for pixel in range(pixels)]
    rows = [[1.0 - 2.0 * ((band & code).bit_count() % 2) for code in codes] for band in range(pixels)]
    return torch.tensor(rows, dtype=torch.float64, device=device)


def _interleaved(y: int, x: int) -> int:
    """Return a number with the bits of y at even positions and those of x at odd ones."""
    return sum((y >> bit & 1) << 2 * bit | (x >> bit & 1) << 2 * bit + 1 for bit in range(max(y, x).bit_length()))
