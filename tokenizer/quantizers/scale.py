"""A scale at which squares neither overflow nor vanish."""

import torch
from torch import Tensor
from torch.nn import functional

from .base import with_gradient_of

FAR = 2.0**40
"""Entries between its inverse and this are squared as they are; others are scaled by `BACK` first."""
BACK = 2.0**86
MIN_NORM = 1e-30
SHORT = 1e-3


def scale_to_one(points: Tensor) -> Tensor:
    """Return the power of two, a constant scalar, that brings the max entry near 1; multiplying by it does not round."""
    exponent = torch.frexp(points.detach().abs().amax()).exponent
    return torch.ldexp(points.new_ones(()), -exponent.clamp(-125, 125))


def on_unit_sphere(vectors: Tensor, dim: int = -1) -> Tensor:
    """Divide vectors along `dim` by their length; those below 1e-30, whose gradient could overflow, stay short.

    This divides the gradient by the length too. For vectors shorter than 1e-3 the gradient is multiplied by their length
    over 1e-3: it grows a thousandfold at most, and is 0 at 0.
    """
    damping = (vectors.detach().norm(dim=dim, keepdim=True) / SHORT).clamp_max(1)
    vectors = with_gradient_of(vectors, damping * vectors)
    max_entry = vectors.detach().abs().amax(dim=dim, keepdim=True)
    is_small = (max_entry > MIN_NORM) & (max_entry < 1 / FAR)
    one = torch.ones_like(max_entry)  # Python floats would get the caller's default dtype
    factor = torch.where(max_entry > FAR, one / BACK, torch.where(is_small, one * BACK, one))
    return functional.normalize(vectors * factor, dim=dim, eps=MIN_NORM)
