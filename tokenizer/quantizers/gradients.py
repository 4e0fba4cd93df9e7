"""Gradient estimators: pure functions (z, q) -> q of rows `n d`, which decide the gradient of the encoder.

Most return exactly q. `diveq` and `nsvq` return q with noise, and move the codes too.
"""

from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from ..shapes import Vectors
from .base import with_gradient_of
from .rotations import reflection, rotation, rotation_no_scale, rotation_tangent

DIVEQ_VARIANCE = 1e-3
HASH_FACTOR = 0x1E3779B97F4A7C15


def straight_through(latent: Vectors, codes: Vectors) -> Vectors:
    """Copy the gradient from q to z (straight-through estimator, arXiv 1711.00937)."""
    return with_gradient_of(codes, latent)


def dynamic_straight_through(latent: Vectors, codes: Vectors) -> Vectors:
    """Damp the gradient of latents far from their code: dL/dz = w dL/dq, w = min distance to that code / own distance.

    The min is over the latents of the call that share the code. So w is 1 for the nearest of them, and for all if they are
    equally near. This is the dynamic estimator of StableVQ, which we know only from a secondary source.
    """
    with torch.no_grad():
        distances = (latent - codes).norm(dim=-1)
        group = _equal_rows(codes)
        nearest = torch.full_like(distances, torch.inf).scatter_reduce(0, group, distances, "amin")
        weight = torch.where(distances > 0, nearest[group] / distances, 1.0).unsqueeze(-1)
    return with_gradient_of(codes, weight * latent)


def diveq(latent: Vectors, codes: Vectors, variance: float = DIVEQ_VARIANCE) -> Vectors:
    """Move z by its distance to q in a direction that is held constant: z + |q - z| sg[u / |u|], u = q - z + noise.

    DiVeQ (arXiv 2509.26469): noise ~ N(0, `variance`) makes the value differ from q a little. Latent and code both get a
    gradient, so no codebook or commitment loss is needed.
    """
    difference = codes - latent
    with torch.no_grad():
        noisy = difference + torch.randn_like(difference) * variance**0.5
        direction = functional.normalize(noisy, dim=-1)
    return latent + _norm(difference) * direction


def nsvq(latent: Vectors, codes: Vectors) -> Vectors:
    """Replace the error by noise of the same length: z + |q - z| r / |r|, r ~ N(0, I).

    NSVQ (https://doi.org/10.1109/ACCESS.2022.3147670). The value is not q; latent and code both get a gradient.
    """
    with torch.no_grad():
        direction = functional.normalize(torch.randn_like(latent), dim=-1)
    return latent + _norm(codes - latent) * direction


GRADIENTS = {
    "straight_through": straight_through,
    "rotation": rotation,
    "rotation_no_scale": rotation_no_scale,
    "rotation_tangent": rotation_tangent,
    "reflection": reflection,
    "dynamic_straight_through": dynamic_straight_through,
    "diveq": diveq,
    "nsvq": nsvq,
}

if TYPE_CHECKING:
    GradientName: TypeAlias = str
else:
    GradientName = Literal[(*GRADIENTS, "soft")]
"""One of GRADIENTS, or soft: the choice of the code itself."""


def check_gradient(gradient: GradientName, dim: int) -> None:
    """Raise ValueError when latents of `dim` channels cannot have a gradient."""
    if dim == 1 and gradient.startswith(("rotation", "reflection")):
        raise ValueError(
            f"gradient is {gradient!r}, but dim is 1, where a rotation can only flip the sign: use straight_through."
        )


def _equal_rows(rows: Tensor) -> Tensor:
    """Return for each row, ` n`, an index below n that equal rows share, by a hash: `torch.unique` waits for the device."""
    bits = (rows.float() + 0.0).view(torch.int32).long() * HASH_FACTOR  # + 0.0, since -0 equals 0
    factors = bits.new_full((rows.shape[1],), HASH_FACTOR).cumprod(0)
    keys, order = ((bits ^ bits >> 32) * factors).sum(dim=1).sort()
    is_new = keys.diff(prepend=keys[:1]) != 0
    return torch.empty_like(order).scatter_(0, order, is_new.cumsum(0))


def _norm(x: Tensor) -> Tensor:
    # The gradient of a norm is not defined at 0; there the error, and with it the gradient, is 0.
    return (x.square().sum(dim=-1, keepdim=True) + torch.finfo(x.dtype).tiny).sqrt()
