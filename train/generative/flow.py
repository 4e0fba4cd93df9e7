"""Rectified flow between a residual u at t = 0 and noise e at t = 1, with a network that predicts the residual.

    path            z = (1 - t) u + t e,  e ~ N(0, 1),  t in (0, 1]
    velocity        dz/dt = e - u = (z - u) / t
    of the network  v = (z - U) / t, U = U(z, t) its prediction of u
    loss            |v - (e - u)|^2 = |U - u|^2 / t^2, with t at least 0.05 in the weight

The loss is least at U = E[u | z], for any positive weights, and then v = E[e - u | z] is the velocity that carries the
noise to the residuals (arXiv 2209.03003, 2210.02747). Near t = 0 the weight 1 / t^2 has no bound; the floor of 0.05 keeps
the gradient's variance finite (arXiv 2511.13720). Only the weight has the floor: sampling divides by no t.

All is computed in float32, or in float64 where the arguments are; `b` is the batch, `...` the axes of one residual.
"""

import torch
from torch import Tensor

from ...tokenizer.decoders.euler import Residual, Times

MIN_TIME = 0.05
"""The least t of the weight 1 / t^2."""
UNIFORM_FRACTION = 0.1
"""The fraction of times that are drawn uniformly, so that no t is left out."""


def at_least_float32(values: Tensor) -> Tensor:
    """Return values in float32, or as they are in float64."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def beside(times: Times, residual: Residual) -> Tensor:
    """Return one t for each residual with axes of length 1, to multiply residuals by."""
    return at_least_float32(times).reshape(-1, *[1] * (residual.ndim - 1))


def sample_times(count: int, device: torch.device | str = "cpu", generator: torch.Generator | None = None) -> Times:
    """Return `count` float32 times in (0, 1]: the sigmoid of a standard normal (arXiv 2403.03206), a tenth uniform."""
    chosen, uniform = torch.rand((2, count), device=device, generator=generator)
    normal = torch.randn(count, device=device, generator=generator)
    return torch.where(chosen < UNIFORM_FRACTION, 1 - uniform, normal.sigmoid())


def interpolate(residual: Residual, noise: Residual, times: Times) -> Residual:
    """Return z = (1 - t) u + t e."""
    t = beside(times, residual)
    return (1 - t) * residual + t * noise


def velocity(noisy: Residual, prediction: Residual, times: Times) -> Residual:
    """Return v = (z - U) / t; for the U = u of a sample it is e - u. t is above 0."""
    return (noisy - prediction) / beside(times, noisy)


def velocity_weight(times: Times) -> Times:
    """Return 1 / max(t, 0.05)^2: times this, a squared error of u is one of the velocity."""
    return at_least_float32(times).clamp_min(MIN_TIME).square().reciprocal()


def flow_loss(prediction: Residual, residual: Residual, times: Times) -> Tensor:
    """Return the mean of |U - u|^2 / max(t, 0.05)^2 over all elements."""
    error = at_least_float32(prediction) - at_least_float32(residual)
    return (beside(velocity_weight(times), error) * error.square()).mean()
