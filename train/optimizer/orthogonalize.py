"""The direction of Muon: the nearest orthogonal matrix of each matrix of a batch, by quintic Newton-Schulz steps."""

from functools import cache
from typing import Literal, get_args

import torch
from torch import Tensor

from ...tokenizer.devices import multiplies_bfloat16

QUINTIC = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
"""Five steps (a, b, c) that bring singular values near 1 (https://leloykun.github.io/ponder/muon-opt-coeffs)."""
BELOW_ONE = 1.01


Precision = Literal["auto", "float32", "bfloat16"]
PRECISIONS = get_args(Precision)


def orthogonalize(matrices: Tensor, precision: str = "float32") -> Tensor:
    """Return U V^T of each matrix U S V^T of a batch ` k m n`, as nearly as the quintic steps bring it.

    A step is X <- a X + b (X X^T) X + c (X X^T)^2 X. In `float32`, or wider where the matrices are, and for m < n, the
    polynomial is evaluated on the m x m Gram matrix X X^T alone and applied to X once at the end. That saves two thirds of
    the multiplications for a 256 x 2304 kernel. In `bfloat16`, for tensor cores, each step is applied to X itself, as in Keller
    Jordan's Muon: a Gram matrix in two bytes loses the small singular values, which the steps then blow up. `auto` is bfloat16
    for float32 matrices on a GPU that multiplies it, and float32 elsewhere. Autocast has no effect.

    The scale of a matrix does not matter, over the whole range of its type: it is divided by its largest entry before
    anything is squared. A matrix of zeros gives zeros. A matrix with an entry that is not finite gives NaN in every entry,
    and does not affect the others of the batch.
    """
    if matrices.shape[-2] > matrices.shape[-1]:
        return orthogonalize(matrices.mT, precision).mT
    in_bfloat16 = precision == "bfloat16" or (precision == "auto" and _has_tensor_cores(matrices.device))
    with torch.autocast(matrices.device.type, enabled=False):
        largest = torch.linalg.vector_norm(matrices, torch.inf, dim=(-2, -1), keepdim=True)
        wide = (matrices / largest.where(largest != 0, 1)).to(torch.promote_types(matrices.dtype, torch.float32))
        if in_bfloat16 and matrices.dtype != torch.float64:
            return _by_products(wide).to(matrices.dtype)
        return _by_gram(wide)


@cache
def _has_tensor_cores(device: torch.device) -> bool:
    return device.type == "cuda" and multiplies_bfloat16(device)


def _by_gram(wide: Tensor) -> Tensor:
    gram = wide @ wide.mT
    squared_norm = gram.diagonal(dim1=-2, dim2=-1).sum(dim=-1)[:, None, None]
    squared_norm = squared_norm.where(squared_norm != 0, 1)
    gram /= squared_norm
    product = None
    for step, (a, b, c) in enumerate(QUINTIC, 1):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=-2, dim2=-1).add_(a)
        product = factor if product is None else factor @ product
        if step < len(QUINTIC):
            gram = factor @ gram @ factor
    assert product is not None
    return product / squared_norm.sqrt() @ wide


def _by_products(wide: Tensor) -> Tensor:
    """Do the steps in bfloat16, each as three products whose sums are in float32."""
    norm = torch.linalg.vector_norm(wide, dim=(-2, -1), keepdim=True)
    # A little below 1: rounding may not bring the largest singular value above it, where the first step would grow it.
    x = (wide / (norm.where(norm != 0, 1) * BELOW_ONE)).bfloat16()
    for a, b, c in QUINTIC:
        gram = x @ x.mT
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, factor, x, beta=a)
    return x
