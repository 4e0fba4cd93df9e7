"""Layers of the convolutional family: normalisation, residual and attention blocks."""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

GROUPS = 32
EPSILON = 1e-6


def group_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """Normalise `b d y x` over 32 groups of channels and the whole grid; 1 x 1 grids are allowed, unlike in nn.GroupNorm."""
    if x.is_cpu:
        # torch's kernel for channels-last tensors loses digits when a mean is large: 4e-4 at a mean of 10 standard
        # deviations. The shift does not change the result, nor, for a group, the gradient.
        means = _per_channel(_group_means(x.detach()), x)
        if x.dtype == torch.float32 and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return _exactly(x, means, weight, bias)
        x = x - means
    return torch.group_norm(x, GROUPS, weight, bias, eps=EPSILON)


def _exactly(x: Tensor, means: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Normalise `b d y x` whose groups have the given means, without a gradient.

    torch's kernel for channels-last tensors adds squares one after another, which costs digits on a large grid: 2e-4 at 512 x
    512, enough for another token in some thousands. `mean` adds them in blocks.
    """
    result = x - means
    factors = _per_channel((_group_means(result.square_()) + EPSILON).rsqrt(), x)
    torch.sub(x, means, out=result)  # again, which is faster than another buffer
    if weight is None or bias is None:
        return result.mul_(factors)
    return torch.addcmul(bias[:, None, None], result, factors * weight[:, None, None], out=result)


def _group_means(x: Tensor) -> Tensor:
    return x.mean(dim=(2, 3)).unflatten(1, (GROUPS, -1)).mean(dim=2)


def _per_channel(of_groups: Tensor, x: Tensor) -> Tensor:
    return of_groups.repeat_interleave(x.shape[1] // GROUPS, dim=1)[..., None, None]


class Norm(nn.Module):
    """Normalise over 32 groups of channels and the whole grid (group), or the channels of each position (pixel).

    The published VQGANs do the first. The second takes no statistic over the grid, so a position has the same values in a
    crop and in the whole image.
    """

    def __init__(self, channels: int, kind: str):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "group":
            return group_norm(x, self.weight, self.bias)
        rows = rearrange(x, "b d y x -> b y x d")
        rows = functional.layer_norm(rows, (x.shape[1],), self.weight, self.bias, eps=1e-6)
        return rearrange(rows, "b y x d -> b d y x")


def zero_initialize(layer: nn.Module) -> None:
    """Set all parameters of the last layer of a residual to zero, so that it adds nothing at first."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class ResidualBlock(nn.Module):
    """Add two normalised 3 x 3 convolutions F to the input: y = x + F(x).

    Where the channels change, a 1 x 1 convolution s leads to the new ones: y = s(x) + F(x), or, with `shortcut_of_output`,
    y = s(F(x)) + F(x), as in MaskGIT (arXiv 2202.04200). F starts at 0 unless it is all there is.
    """

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
        residual = self.conv1(functional.silu(self.norm1(x, *condition)))
        residual = self.conv2(functional.silu(self.norm2(residual, *condition)))
        return self.shortcut(residual if self.drops_input else x) + residual


class AttentionBlock(nn.Module):
    """Add single-head self-attention over the grid, with 1 x 1 convolutions as projections."""

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
