"""Euler's method along the straight path z = (1 - t) u + t e between a residual u and noise e, by predictions of u."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Residual: TypeAlias = Float[Tensor, "b ..."]
Times: TypeAlias = Float[Tensor, " b"]
Predict: TypeAlias = Callable[[Residual, Times], Residual]
"""The prediction of u from z and t."""


def integrate(predict: Predict, noise: Residual, steps: int) -> Residual:
    """Return the residuals that Euler's method makes of noise in `steps` equal steps from t = 1 to 0.

    A step from t to s is z + (s - t) v = s/t z + (1 - s/t) U(z, t). The last is U itself: one step is U(e, 1). All is
    computed in float32, or in float64 where the noise is.
    """
    noisy = noise.to(torch.promote_types(noise.dtype, torch.float32))
    for left in range(steps, 0, -1):
        times = torch.full((len(noisy),), left / steps, dtype=noisy.dtype, device=noisy.device)
        noisy = noisy.lerp(predict(noisy, times).to(noisy.dtype), 1 / left)
    return noisy
