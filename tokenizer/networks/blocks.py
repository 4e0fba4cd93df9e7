"""Layers of the convolutional family: residual and attention blocks."""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from .norm_silu import silu_of_norm
from .norms import Norm


def zero_initialize(layer: nn.Module) -> None:
    """Set all parameters of the last layer of a residual to zero, so that it adds nothing at first."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class ResidualBlock(nn.Module):
    """Add two normalised 3 x 3 convolutions F to the input: y = x + F(x).

    Where the channels change, a 1 x 1 convolution s leads to the new ones: y = s(x) + F(x), or, with `shortcut_of_output`,
    y = s(F(x)) + F(x), as in MaskGIT (arXiv 2202.04200). F starts at 0 unless it is all there is.
    """

    is_block = True

    def __init__(self, channels: int, out_channels: int, norm: str, shortcut_of_output: bool = False):
        super().__init__()
        changes = channels != out_channels
        self.drops_input = changes and shortcut_of_output
        self.norm1 = Norm(channels, norm)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.norm2 = Norm(out_channels, norm)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        shortcut_channels = out_channels if self.drops_input else channels
        self.shortcut = nn.Conv2d(shortcut_channels, out_channels, 1) if changes else nn.Identity()
        if not self.drops_input:
            zero_initialize(self.conv2)

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        residual = self.conv1(silu_of_norm(self.norm1, x, *condition))
        residual = self.conv2(silu_of_norm(self.norm2, residual, *condition))
        return self.shortcut(residual if self.drops_input else x) + residual


class AttentionBlock(nn.Module):
    """Add single-head self-attention over the grid, with 1 x 1 convolutions as projections."""

    is_block = True

    def __init__(self, channels: int, norm: str):
        super().__init__()
        self.norm = Norm(channels, norm)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        zero_initialize(self.out)

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        normalised = self.norm(x, *condition)
        query, key, value = (
            rearrange(project(normalised), "b d y x -> b 1 (y x) d") for project in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return x + self.out(rearrange(mixed, "b 1 (y x) d -> b d y x", y=x.shape[2]))


def in_float32(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a 3 x 3 convolution to `x` in float32 whatever the autocast and the type of the weights.

    In half precision the last layer would round pixels to half a grey level, and lose or overflow its gradient, which
    adaptive adversarial weights need.
    """
    with torch.autocast(x.device.type, enabled=False):
        bias = convolution.get_parameter("bias").float()
        return functional.conv2d(x.float(), convolution.weight.float(), bias, padding=1)


def kernels_except(network: nn.Module, *outer: str) -> list[str]:
    """Return the names of all matrices and kernels of a network but those of its outer layers."""
    return [name for name, parameter in network.named_parameters() if parameter.ndim > 1 and name not in outer]
