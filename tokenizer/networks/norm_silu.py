"""SiLU of a group norm, of which the backward pass keeps the input alone."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from .norms import EPSILON, GROUPS, Norm, in_autocast_type


def silu_of_norm(norm: nn.Module, x: Tensor, *condition: Tensor) -> Tensor:
    """Return silu(norm(x, *condition)).

    In training on CUDA, a plain group norm is computed again in the backward pass instead of kept: it saves a third of
    the memory of a residual block. A compiler decides that by itself, and a CPU has more memory than time.
    """
    if isinstance(norm, Norm) and norm.kind == "group" and _recomputes(x):
        x = in_autocast_type(x)
        with torch.autocast(x.device.type, enabled=False):
            return _SiluOfGroupNorm.apply(x, norm.weight, norm.bias)
    return functional.silu(norm(x, *condition))


def _recomputes(x: Tensor) -> bool:
    return x.is_cuda and torch.is_grad_enabled() and x.numel() > 0 and not torch.compiler.is_compiling()


class _SiluOfGroupNorm(torch.autograd.Function):
    """Takes `b d y x`, and weights in any float type; differentiable once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x = x.contiguous()  # the kernels for CUDA take no other format
        normalised, mean, rstd = _normalised(x, weight, bias)
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        return functional.silu(normalised, inplace=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override, unused-ignore]
        x, weight, bias, mean, rstd = ctx.saved_tensors
        normalised = _normalised(x, weight, bias)[0]
        inner = torch.ops.aten.silu_backward(gradient.contiguous(), normalised)
        batch, channels, grid = len(x), x.shape[1], x.shape[2:].numel()
        mask = list(ctx.needs_input_grad)
        found = torch.ops.aten.native_group_norm_backward(
            inner, x, mean, rstd, weight.to(x.dtype), batch, channels, grid, GROUPS, mask
        )
        likes = (x, weight, bias)
        return tuple(
            each.to(like.dtype) if wanted else None for each, like, wanted in zip(found, likes, mask, strict=True)
        )


def _normalised(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normalised tensor, and mean and inverse deviation of each group."""
    weight, bias = weight.to(x.dtype), bias.to(x.dtype)
    return torch.native_group_norm(x, weight, bias, len(x), x.shape[1], x.shape[2:].numel(), GROUPS, EPSILON)
