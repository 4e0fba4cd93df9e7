"""What the encoder feels: pure functions (z, q) -> q, rows of two `n d` tensors.

Most have the form z_q = sg[G] z + sg[q - G z] of https://kexue.fm/archives/10489: the value is exactly q, and
dL/dz = G^T dL/dq. `diveq` and `nsvq` stand apart: their value is q but for noise, and they move the codes too.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..shapes import Vectors

TINY_NORM = 1e-6
SHORT = 1e-3
NEARLY_OPPOSITE = 1e-4
MAX_SCALE = 100.0
"""Bound of |q|/|z|. Where a code serves latents around the origin, the density of |q|/|z| falls with its power d + 1: in 2
dimensions the gradient would have no finite variance, and one latent could outweigh its batch. The value is not touched; of
Gaussian latents and their k-means codes, 5 in a million are beyond the bound in 2 dimensions, and none in 4 or more."""
DIVEQ_VARIANCE = 1e-3


def straight_through(latent: Vectors, codes: Vectors) -> Vectors:
    """Copy the gradient: G = I (straight-through estimator, arXiv 1711.00937)."""
    return with_gradient_of(codes, latent)


def rotation(latent: Vectors, codes: Vectors) -> Vectors:
    """Rotate and rescale the gradient: G = |q|/|z| R, with R the rotation in the plane of z and q that takes z to q.

    Section 4 of arXiv 2410.06424, G held constant, but for a bound of 100 on |q|/|z|. Rows where G is not defined (|z| or
    |q| below 1e-6, or q opposite to z) take the straight-through gradient.
    """
    plane = _plane(latent, codes)
    return with_gradient_of(codes, torch.where(plane.undefined, latent, plane.scale * _rotated(latent, plane)))


def rotation_no_scale(latent: Vectors, codes: Vectors) -> Vectors:
    """Rotate the gradient and keep its length: G = R of `rotation`; a short code does not shrink the gradient."""
    plane = _plane(latent, codes)
    return with_gradient_of(codes, torch.where(plane.undefined, latent, _rotated(latent, plane)))


def rotation_tangent(latent: Vectors, codes: Vectors) -> Vectors:
    """Rotate the gradient without its part along z: G = |q|/|z| R (I - z z^T / |z|^2), |q|/|z| at most 100.

    What the released code of arXiv 2410.06424 computes for its tables 3 and 4, where z / |z| is not held constant.
    """
    plane = _plane(latent, codes)
    tangent = latent - _along(latent, plane.latent_unit)
    return with_gradient_of(codes, torch.where(plane.undefined, latent, plane.scale * _rotated(tangent, plane)))


def reflection(latent: Vectors, codes: Vectors) -> Vectors:
    """Reflect and rescale the gradient: G = |q|/|z| (I - 2 v v^T), v along z/|z| - q/|q| (the mirror that takes z to q).

    |q|/|z| is at most 100. Rows where z and q have the same direction, or one of them none, take the straight-through gradient.
    """
    plane = _plane(latent, codes)
    with torch.no_grad():
        difference = plane.latent_unit - plane.code_unit
        undefined = plane.tiny | (difference.norm(dim=-1, keepdim=True) < NEARLY_OPPOSITE)
        mirror = functional.normalize(difference, dim=-1)
    reflected = plane.scale * (latent - 2 * _along(latent, mirror))
    return with_gradient_of(codes, torch.where(undefined, latent, reflected))


def dynamic_straight_through(latent: Vectors, codes: Vectors) -> Vectors:
    """Damp the gradient of latents that are far from their code: G = w I, w = least distance to that code / own distance.

    The least is taken over the latents of the call that share the code, so w is 1 for the nearest of them and as soon
    as all are equally near (the dynamic estimator of StableVQ, of which only a secondary note was at hand).
    """
    with torch.no_grad():
        groups, group = torch.unique(codes, dim=0, return_inverse=True)
        distances = (latent - codes).norm(dim=-1)
        least = torch.full((len(groups),), torch.inf, dtype=distances.dtype, device=latent.device)
        least = least.scatter_reduce(0, group, distances, "amin")
        weight = torch.where(distances > 0, least[group] / distances, 1.0).unsqueeze(-1)
    return with_gradient_of(codes, weight * latent)


def diveq(latent: Vectors, codes: Vectors, variance: float = DIVEQ_VARIANCE) -> Vectors:
    """Move z by its distance to q in a direction that is held constant: z + |q - z| sg[u / |u|], u = q - z + noise.

    DiVeQ (arXiv 2509.26469): noise ~ N(0, `variance`) makes the value differ from q a little; latent and code both get
    a gradient, so no codebook or commitment loss is needed.
    """
    difference = codes - latent
    with torch.no_grad():
        noisy = difference + torch.randn_like(difference) * variance**0.5
        direction = functional.normalize(noisy, dim=-1)
    return latent + _norm(difference) * direction


def nsvq(latent: Vectors, codes: Vectors) -> Vectors:
    """Replace the error by noise of the same length: z + |q - z| r / |r|, r ~ N(0, I) (Vali and Backstrom 2022).

    The value is not q; latent and code both get a gradient.
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

GradientName = Literal[
    "straight_through",
    "rotation",
    "rotation_no_scale",
    "rotation_tangent",
    "reflection",
    "dynamic_straight_through",
    "diveq",
    "nsvq",
    "soft",
]
"""One of GRADIENTS, or soft: the choice of the code itself."""


def check_gradient(gradient: GradientName, dim: int) -> None:
    """Raise ValueError when latents of `dim` channels cannot have a gradient."""
    if dim == 1 and gradient.startswith(("rotation", "reflection")):
        raise ValueError(
            f"gradient is {gradient!r}, but dim is 1, where a rotation can only turn round: use straight_through."
        )


def damp_short(vectors: Tensor, dim: int = -1) -> Tensor:
    """Return exactly `vectors`, with the gradient of those shorter than 1e-3 damped by their length over 1e-3.

    On the way to the unit sphere a gradient is divided by the length: so it grows a thousandfold at most, and is 0 at 0.
    """
    damping = (vectors.detach().norm(dim=dim, keepdim=True) / SHORT).clamp_max(1)
    return with_gradient_of(vectors, damping * vectors)


@torch.no_grad()
def length_weight(latent: Vectors, codes: Vectors) -> Tensor:
    """Return min(1, (|q|/|z|)^2) of rows, `n 1`, a constant in [1e-4, 1]: by how much `rotation` shrinks a squared gradient.

    Where codes are short, the rotation shrinks what the encoder feels of the reconstruction and leaves the commitment as it
    is (https://kexue.fm/archives/10489). The bound is that of a ratio of 1/100.
    """
    ratio = codes.norm(dim=-1, keepdim=True) / latent.norm(dim=-1, keepdim=True).clamp_min(TINY_NORM)
    return ratio.clamp(1 / MAX_SCALE, 1).square()


def with_gradient_of(value: Tensor, carrier: Tensor) -> Tensor:
    """Return exactly `value` with the gradient of `carrier`, both of one shape.

    While gradients are recorded, a carrier that is not finite makes the result NaN, so that it does not go unnoticed.
    """
    if not torch.is_grad_enabled():
        return value
    # carrier - carrier.detach() is exactly 0, so the sum is exactly `value`; z + (q - z) would round.
    return value.detach() + (carrier - carrier.detach())


class _Plane(NamedTuple):
    """Where z and q lie, all constants."""

    latent_unit: Tensor
    code_unit: Tensor
    bisector: Tensor
    scale: Tensor
    tiny: Tensor
    undefined: Tensor


@torch.no_grad()
def _plane(latent: Tensor, codes: Tensor) -> _Plane:
    latent_norm = latent.norm(dim=-1, keepdim=True)
    code_norm = codes.norm(dim=-1, keepdim=True)
    latent_unit = functional.normalize(latent, dim=-1)
    code_unit = functional.normalize(codes, dim=-1)
    bisector = latent_unit + code_unit
    tiny = (latent_norm < TINY_NORM) | (code_norm < TINY_NORM)
    return _Plane(
        latent_unit,
        code_unit,
        functional.normalize(bisector, dim=-1),
        (code_norm / latent_norm.clamp_min(TINY_NORM)).clamp_max(MAX_SCALE),
        tiny,
        tiny | (bisector.norm(dim=-1, keepdim=True) < NEARLY_OPPOSITE),
    )


def _rotated(x: Tensor, plane: _Plane) -> Tensor:
    along_latent = (x * plane.latent_unit).sum(dim=-1, keepdim=True)
    return x - 2 * _along(x, plane.bisector) + 2 * along_latent * plane.code_unit


def _along(x: Tensor, unit: Tensor) -> Tensor:
    return (x * unit).sum(dim=-1, keepdim=True) * unit


def _norm(x: Tensor) -> Tensor:
    # The gradient of a norm is not defined at 0; there the error, and with it the gradient, is 0.
    return (x.square().sum(dim=-1, keepdim=True) + torch.finfo(x.dtype).tiny).sqrt()
