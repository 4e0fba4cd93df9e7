"""What the encoder feels: pure functions (z, q) -> q whose value is exactly q and whose gradient is their own.

Each has the form z_q = sg[G] z + sg[q - G z] of https://kexue.fm/archives/10489: dL/dz = G^T dL/dq.
"""

import torch
from torch import Tensor
from torch.nn import functional

from ..shapes import Vectors

TINY_NORM = 1e-6
NEARLY_OPPOSITE = 1e-4


def straight_through(latent: Vectors, codes: Vectors) -> Vectors:
    """Copy the gradient: G = I (straight-through estimator, arXiv 1711.00937)."""
    return with_gradient_of(codes, latent)


def rotation(latent: Vectors, codes: Vectors) -> Vectors:
    """Rotate and rescale the gradient: G = |q|/|z| R, with R the rotation in the plane of z and q that takes z to q.

    Section 4 of arXiv 2410.06424, G held constant. Rows where G is not defined (|z| or |q| below 1e-6, or q opposite
    to z) take the straight-through gradient.
    """
    with torch.no_grad():
        latent_norm = latent.norm(dim=-1, keepdim=True)
        code_norm = codes.norm(dim=-1, keepdim=True)
        latent_unit = functional.normalize(latent, dim=-1)
        code_unit = functional.normalize(codes, dim=-1)
        bisector = latent_unit + code_unit
        opposite = bisector.norm(dim=-1, keepdim=True) < NEARLY_OPPOSITE
        undefined = opposite | (latent_norm < TINY_NORM) | (code_norm < TINY_NORM)
        bisector = functional.normalize(bisector, dim=-1)
        scale = code_norm / latent_norm.clamp_min(TINY_NORM)
    along_bisector = (latent * bisector).sum(dim=-1, keepdim=True)
    along_latent = (latent * latent_unit).sum(dim=-1, keepdim=True)
    rotated = scale * (latent - 2 * along_bisector * bisector + 2 * along_latent * code_unit)
    return with_gradient_of(codes, torch.where(undefined, latent, rotated))


def with_gradient_of(value: Tensor, carrier: Tensor) -> Tensor:
    """Return exactly `value` with the gradient of `carrier`, both of one shape."""
    # carrier - carrier.detach() is exactly 0, so the sum is exactly `value`; z + (q - z) would round.
    return value.detach() + (carrier - carrier.detach())
