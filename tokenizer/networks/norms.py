"""Normalisation that keeps the type of the activations: sums in float32, all else in the autocast type.

Autocast on CUDA would convert to float32 before each norm. Every activation would then be written, kept for the backward pass
and read again at twice its size. The kernels sum in float32 whatever the type of their input, so nothing needs the copy.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

GROUPS = 32
EPSILON = 1e-6


def group_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """Normalise `b d y x` over 32 groups of channels and the whole grid; 1 x 1 grids are allowed, unlike in nn.GroupNorm."""
    x = in_autocast_type(x)
    if x.is_cpu:
        # torch's kernel for channels-last tensors loses digits when a mean is large: 4e-4 at a mean of 10 standard
        # deviations. The shift does not change the result, nor, for a group, the gradient.
        means = _per_channel(_group_means(x.detach()), x)
        if x.dtype == torch.float32 and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return _exactly(x, means, weight, bias)
        x = x - means
    return plain_group_norm(x, GROUPS, weight, bias, EPSILON)


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


def plain_group_norm(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Return what torch.group_norm does, in the autocast type."""
    x = in_autocast_type(x)
    with without_autocast(x):
        return torch.group_norm(x, groups, _for(x, weight), _for(x, bias), eps=eps)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Normalise over the last axis, in the autocast type."""
    x = in_autocast_type(x)
    with without_autocast(x):
        return functional.layer_norm(x, (x.shape[-1],), _for(x, weight), _for(x, bias), eps=eps)


def in_autocast_type(x: Tensor) -> Tensor:
    """Return a tensor in the type of autocast where that is on, else as it is."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


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
        rows = layer_norm(rearrange(x, "b d y x -> b y x d"), self.weight, self.bias, EPSILON)
        return rearrange(rows, "b y x d -> b d y x")


class LayerNorm(nn.Module):
    """Normalise over the last axis, as nn.LayerNorm does, whose parameters it has."""

    def __init__(self, width: int, eps: float = 1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.weight, self.bias, self.eps)


class GroupNorm(nn.Module):
    """Normalise over groups of channels and the grid, as nn.GroupNorm does, whose parameters it has."""

    def __init__(self, groups: int, channels: int, eps: float = 1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.groups = groups
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return plain_group_norm(x, self.groups, self.weight, self.bias, self.eps)


def _for(x: Tensor, weight: Tensor | None) -> Tensor | None:
    """Return a weight in a type that the kernel for `x` takes: on the CPU float32 goes with any type."""
    return weight if weight is None or x.is_cpu else weight.to(x.dtype)


def without_autocast(x: Tensor) -> AbstractContextManager[None]:
    """Return a context in which operations on the device of `x` keep their type."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()
