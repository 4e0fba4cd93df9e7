"""Directions along which the curvature is measured, from the state of the optimizer, which is only read."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..optimizer.orthogonalize import orthogonalize
from .hessian_products import Direction


@torch.no_grad()
def momentum_signs(optimizer: Optimizer, parameters: Sequence[nn.Parameter]) -> Direction:
    """Return the sign of AdamW's momentum; None for parameters of Muon."""
    return [state["exp_avg"].sign() if "exp_avg" in state else None for state in _states(optimizer, parameters)]


@torch.no_grad()
def orthogonal_momentum(optimizer: Optimizer, parameters: Sequence[nn.Parameter]) -> Direction:
    """Return Muon's momentum with all singular values near 1, kernels as out x rest; None for parameters of AdamW."""
    momenta = [state.get("momentum_buffer") for state in _states(optimizer, parameters)]
    return [None if m is None else orthogonalize(m.flatten(1).unsqueeze(0))[0].reshape(m.shape) for m in momenta]


@torch.no_grad()
def momentum_square(optimizer: Optimizer, parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return |m|^2 over the momenta of both, a scalar: the size of recent gradients."""
    momenta = [state.get("exp_avg", state.get("momentum_buffer")) for state in _states(optimizer, parameters)]
    return torch.stack([momentum.square().sum() for momentum in momenta if momentum is not None]).sum()


@torch.no_grad()
def random_signs(like: Direction, seed: int) -> Direction:
    """Return independent random signs where a direction is not 0, the same on all processes, for Hutchinson's trace."""
    device = next(part.device for part in like if part is not None)
    generator = torch.Generator(device).manual_seed(seed)
    return [None if part is None else _signs(part, generator) * part.abs() for part in like]


def _signs(part: Tensor, generator: torch.Generator) -> Tensor:
    return 2 * torch.randint(0, 2, part.shape, generator=generator, device=part.device).to(part.dtype) - 1


def _states(optimizer: Optimizer, parameters: Sequence[nn.Parameter]) -> list[dict[str, Tensor]]:
    return [optimizer.state.get(parameter, {}) for parameter in parameters]
