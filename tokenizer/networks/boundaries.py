"""What lies around the networks: the values of black and white, and the layers around the quantizer."""

from torch import Tensor, nn

from ..shapes import Pixels
from .base import ArchitectureConfig

SYMMETRIC = (-1.0, 1.0)


def to_networks(pixels: Pixels, pixel_values: tuple[float, float]) -> Tensor:
    """Return pixels in [-1, 1] with the values that networks have for black and white."""
    black, white = pixel_values
    if pixel_values == SYMMETRIC:
        return pixels
    return black + (pixels + 1) * ((white - black) / 2)


def from_networks(values: Tensor, pixel_values: tuple[float, float]) -> Pixels:
    """Return the values of networks as pixels in [-1, 1], the inverse of `to_networks`."""
    black, white = pixel_values
    if pixel_values == SYMMETRIC:
        return values
    return (values - black) * (2 / (white - black)) - 1


def quantizer_layer(architecture: ArchitectureConfig, channels: int, out_channels: int) -> nn.Module:
    """Build the convolution that leads into the quantizer or out of it, or nothing where there is none."""
    kernel = architecture.quantizer_kernel
    if not architecture.quantizer_convolutions:
        return nn.Identity()
    return nn.Conv2d(channels, out_channels, kernel, padding=kernel // 2)
