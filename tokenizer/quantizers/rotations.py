"""The rotation trick (arXiv 2410.06424) and its variants: gradients turned from the code's direction to the latent's.

All have the form z_q = sg[G] z + sg[q - G z] (https://kexue.fm/archives/10489): the value is exactly q, and
dL/dz = G^T dL/dq.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..shapes import Vectors
from .base import with_gradient_of

TINY_NORM = 1e-6
NEARLY_OPPOSITE = 1e-4
MAX_SCALE = 100.0
"""Bound of |q|/|z|. Where a code serves latents around the origin, the density of |q|/|z| falls with its power d + 1. In 2
dimensions the gradient would then have no finite variance, and one latent could outweigh its batch. Of Gaussian latents and
their k-means codes, 5 in a million exceed the bound in 2 dimensions, and none in 4 or more."""


def rotation(latent: Vectors, codes: Vectors) -> Vectors:
    """Rotate and rescale the gradient: G = |q|/|z| R, with R the rotation in the plane of z and q that takes z to q.

    Section 4 of the paper, with |q|/|z| at most 100. Rows where G is not defined (|z| or |q| below 1e-6, or q opposite to
    z) get the straight-through gradient.
    """
    plane = _plane(latent, codes)
    return with_gradient_of(codes, torch.where(plane.undefined, latent, plane.scale * _rotated(latent, plane)))


def rotation_no_scale(latent: Vectors, codes: Vectors) -> Vectors:
    """Rotate the gradient and keep its length: G = R of `rotation`; a short code does not shrink the gradient."""
    plane = _plane(latent, codes)
    return with_gradient_of(codes, torch.where(plane.undefined, latent, _rotated(latent, plane)))


def rotation_tangent(latent: Vectors, codes: Vectors) -> Vectors:
    """Rotate the gradient without its part along z: G = |q|/|z| R (I - z z^T / |z|^2), |q|/|z| at most 100.

    The paper's released code computes this for its tables 3 and 4: there z / |z| is not held constant.
    """
    plane = _plane(latent, codes)
    tangent = latent - _along(latent, plane.latent_unit)
    return with_gradient_of(codes, torch.where(plane.undefined, latent, plane.scale * _rotated(tangent, plane)))


def reflection(latent: Vectors, codes: Vectors) -> Vectors:
    """Reflect and rescale the gradient: G = |q|/|z| (I - 2 v v^T), v along z/|z| - q/|q| (the mirror that takes z to q).

    |q|/|z| is at most 100. Rows where z and q have the same direction, or one is 0, get the straight-through gradient.
    """
    plane = _plane(latent, codes)
    with torch.no_grad():
        difference = plane.latent_unit - plane.code_unit
        undefined = plane.tiny | (difference.norm(dim=-1, keepdim=True) < NEARLY_OPPOSITE)
        mirror = functional.normalize(difference, dim=-1)
    reflected = plane.scale * (latent - 2 * _along(latent, mirror))
    return with_gradient_of(codes, torch.where(undefined, latent, reflected))


@torch.no_grad()
def length_weight(latent: Vectors, codes: Vectors) -> Tensor:
    """Return min(1, (|q|/|z|)^2) of rows, `n 1`, a constant in [1e-4, 1]: by how much `rotation` shrinks a squared gradient.

    Where codes are short, the rotation shrinks the encoder's gradient from the reconstruction but not the commitment
    (https://kexue.fm/archives/10489).
    """
    ratio = codes.norm(dim=-1, keepdim=True) / latent.norm(dim=-1, keepdim=True).clamp_min(TINY_NORM)
    return ratio.clamp(1 / MAX_SCALE, 1).square()


class _Plane(NamedTuple):
    """The plane of z and q, all constants."""

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
