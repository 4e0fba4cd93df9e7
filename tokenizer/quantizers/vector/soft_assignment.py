"""Soft assignment of latents to codes, so that every code gets a gradient and not the chosen one alone.

The index of a latent is made differentiable as onehot + p - sg[p], where p is the k-sparse softmax of scores / temperature:
p_i = min(1, e^(x_i - t)) with the threshold t at which p sums to k (https://kexue.fm/archives/10373). With k = 1 that is the
softmax, and with dot products as scores it is index back-propagation (IBQ, arXiv 2412.02692).
"""

from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ...config import Config
from ...devices import widest_float
from ...shapes import Codes, Vectors
from ..entropy import chunks

FAR = 1e4
"""Distance from the k-th highest score beyond which a weight is 0 or 1 in float64."""


class SoftAssignmentConfig(Config):
    """How soft the assignment is, over the steps of a run."""

    k: Annotated[int, Field(ge=1)] = 1
    """Sum of the weights of a latent: it is assigned to about k codes."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Divisor of the scores at the start."""
    final_temperature: Annotated[float, Field(gt=0)] | None = None
    """Divisor of the scores after anneal_steps, reached geometrically; none keeps the first."""
    anneal_steps: Annotated[int, Field(ge=1)] = 1000
    """Training steps over which the temperature changes."""

    def temperature_at(self, step: int) -> float:
        """Return the temperature after `step` training steps."""
        return annealed(self.temperature, self.final_temperature, step / self.anneal_steps)


def annealed(temperature: float, final: float | None, progress: float) -> float:
    """Return the first temperature, or one on the geometric way to `final`, which is reached at `progress` 1."""
    return temperature if final is None else temperature * (final / temperature) ** min(1.0, progress)


def mixture(
    vectors: Vectors, codes: Codes, scores: Callable[[Tensor, Tensor], Tensor], k: int, temperature: float
) -> Vectors:
    """Return p sg[codes], `n d`: its gradient is that of p with respect to vectors and codes.

    `scores(vectors, codes)` returns `n k`, higher for better codes. The rows of p are never held at once: they are made
    chunk by chunk, and again in the backward pass.
    """

    def part(rows: Tensor, table: Tensor) -> Tensor:
        return soft_topk(scores(rows, table) / temperature, k) @ table.detach()

    return torch.cat(
        [
            checkpoint(part, rows, codes, use_reentrant=False, preserve_rng_state=False)
            for rows in chunks(vectors, codes)
        ]
    )


def soft_topk(x: Tensor, k: int) -> Tensor:
    """Return the k-sparse softmax along the last axis: weights min(1, e^(x - t)) that sum to `k`.

    It is monotone and invariant to a shift of x; as x grows the weights become the indicator of the k highest scores. A score
    of -inf gets 0 while at least k others are finite. A weight of exactly 1 has slope 0 if k > 1. Derivatives of any order
    are those of the formula. The arithmetic is float64, where the device has it, relative to the k-th highest score, so a
    common offset costs no digits. Raises ValueError when `k` is not below the number of entries.
    """
    if k >= x.shape[-1]:
        raise ValueError(f"Soft assignment got k = {k} for {x.shape[-1]} codes: k must be below the number of codes.")
    weights: Tensor = _SoftTopK.apply(x.to(widest_float(x.device)), k)
    return weights.to(x.dtype)


class _SoftTopK(torch.autograd.Function):
    """The weights as a function of the scores, with derivatives by the implicit function theorem.

    dp_i/dx_j = s_i (1[i = j] - s_j / sum s), s = dp/dx at a fixed t. s is a function of the output p alone, so the backward
    pass can be differentiated again.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: int) -> Tensor:
        limit = torch.finfo(x.dtype).max / 4
        x = x.clamp(-limit, limit)
        kth = x.amax(dim=-1, keepdim=True) if k == 1 else x.topk(k, dim=-1).values[..., -1:]
        x = x.sub_(kth).clamp_(-FAR, FAR)
        x = x - _threshold(x, k)
        weights = torch.where(x >= 0, 1.0, x.exp())
        ctx.k = k
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (weights,) = ctx.saved_tensors
        # With k = 1 no score passes the threshold: a weight is 1 by rounding alone.
        slope = weights if ctx.k == 1 else torch.where(weights >= 1, 0.0, weights)
        total = slope.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(slope.dtype).tiny)
        mean = (slope * upstream).sum(dim=-1, keepdim=True) / total
        return slope * (upstream - mean), None


def _threshold(x: Tensor, k: int) -> Tensor:
    if k == 1:  # the softmax
        return x.logsumexp(dim=-1, keepdim=True)
    top = x.topk(k, dim=-1)
    rest = x.scatter(-1, top.indices, -torch.inf).logsumexp(dim=-1, keepdim=True)
    # Logarithms of the sums of all entries but the m highest, m = 0 ... k - 1.
    tails = torch.cat([top.values, rest], dim=-1).flip(-1).logcumsumexp(dim=-1).flip(-1)[..., :k]
    thresholds = tails - torch.log(torch.arange(k, 0, -1, dtype=x.dtype, device=x.device))
    # The first m whose remaining entries all stay below 1.
    misfits = (thresholds < top.values).long()
    first = misfits.cumprod(dim=-1).sum(dim=-1, keepdim=True).clamp_max(k - 1)
    return thresholds.gather(-1, first)
