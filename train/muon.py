"""Muon as timm has it, with Newton-Schulz iterated on the Gram matrix in float32.

timm iterates X <- a X + b (X X^T) X + c (X X^T)^2 X in bfloat16. For an m x n matrix with m < n the same polynomial
can be followed on the m x m Gram matrix G = X X^T alone, and applied to X once at the end: for a 256 x 2304 kernel a
third of the multiplications. Many CPUs multiply bfloat16 hundreds of times slower than float32, hence float32.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import timm.optim.muon as timm_muon
import torch
from torch import Tensor


def orthogonalize(
    G: Tensor,  # noqa: N803 (timm's name, the arguments stand in its function's place)
    steps: int,
    coefficients: list[tuple[float, float, float]],
    eps: float = 1e-7,
    safety_factor: float = 1.0,
    dtype: torch.dtype = torch.float32,
    scale_eps: bool = False,
) -> Tensor:
    """Return U V^T of G = U S V^T as nearly as `steps` quintic steps with `coefficients` (a, b, c) bring it.

    `G` is `m n` or a batch of them; the last triple is repeated when there are more steps than triples.
    """
    assert not scale_eps, "scaled damping is not offered by vistok's optimizer config"
    transposed = G.shape[-2] > G.shape[-1]
    wide = (G.mT if transposed else G).to(dtype)
    wide = wide / (wide.norm(dim=(-2, -1), keepdim=True) * safety_factor).clamp_min(eps)
    gram = wide @ wide.mT
    identity = torch.eye(gram.shape[-1], dtype=dtype, device=gram.device)
    product = identity
    for step in range(steps):
        a, b, c = coefficients[min(step, len(coefficients) - 1)]
        factor = a * identity + b * gram + c * gram @ gram
        product = factor @ product
        if step < steps - 1:
            gram = factor @ gram @ factor
    orthogonal = product @ wide
    return orthogonal.mT if transposed else orthogonal


class Muon(timm_muon.Muon):
    """timm.optim.Muon, its orthogonalisation exchanged for `orthogonalize` while it steps."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        with _orthogonalize_instead():
            return super().step(closure)


@contextmanager
def _orthogonalize_instead() -> Iterator[None]:
    original = timm_muon.zeropower_via_newtonschulz
    timm_muon.zeropower_via_newtonschulz = orthogonalize
    try:
        yield
    finally:
        timm_muon.zeropower_via_newtonschulz = original
