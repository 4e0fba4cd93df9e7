"""A scale at which squares neither overflow nor vanish."""

import torch
from torch import Tensor
from torch.nn import functional

FAR = 2.0**40
"""Largest entry, and one over the smallest, whose squares are left as they are."""
BACK = 2.0**86
MIN_NORM = 1e-30


def scale_to_one(points: Tensor) -> Tensor:
    """Return the power of two, a constant scalar, that brings the largest entry near 1: a product with it does not round."""
    exponent = torch.frexp(points.detach().abs().amax()).exponent
    return torch.ldexp(points.new_ones(()), -exponent.clamp(-125, 125))


def on_unit_sphere(vectors: Tensor, dim: int = -1) -> Tensor:
    """Divide vectors along `dim` by their length; below 1e-30, where a gradient could overflow, they stay short."""
    largest = vectors.detach().abs().amax(dim=dim, keepdim=True)
    is_small = (largest > MIN_NORM) & (largest < 1 / FAR)
    one = torch.ones_like(largest)  # numbers alone would have the caller's default dtype
    factor = torch.where(largest > FAR, one / BACK, torch.where(is_small, one * BACK, one))
    return functional.normalize(vectors * factor, dim=dim, eps=MIN_NORM)
