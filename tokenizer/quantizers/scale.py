"""A scale at which squares neither overflow nor vanish."""

import torch
from torch import Tensor


def scale_to_one(points: Tensor) -> Tensor:
    """Return the power of two, a constant scalar, that brings the largest entry near 1: a product with it does not round."""
    exponent = torch.frexp(points.detach().abs().amax()).exponent
    return torch.ldexp(points.new_ones(()), -exponent.clamp(-125, 125))
