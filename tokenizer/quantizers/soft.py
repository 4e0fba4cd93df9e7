"""Soft assignment of latents to codes, so that the gradient reaches every code and not the chosen one alone.

The index of a latent is made differentiable as onehot + p - sg[p], where p = ST_k(scores / temperature) sums to k
(https://kexue.fm/archives/10373). With k = 1 and the exponential form p is the softmax, and with dot products as scores
this is index back-propagation (IBQ, arXiv 2412.02692). The rows `n k` of p are never held at once: they are made chunk by
chunk, and again in the backward pass.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..config import Config
from ..shapes import Codes, Vectors

SCORES_AT_ONCE = 1 << 22
ITERATIONS = 60

Form = Literal["exponential", "sigmoid", "smooth"]


class SoftAssignmentConfig(Config):
    """How soft the assignment is, over the steps of a run."""

    k: Annotated[int, Field(ge=1)] = 1
    """Codes a latent is assigned to, in the sense that the weights sum to it."""
    form: Form = "exponential"
    """Shape of a weight as a function of its score: exponential min(1, e^x), sigmoid, or smooth (two exponentials)."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Divisor of the scores at the start."""
    final_temperature: Annotated[float, Field(gt=0)] | None = None
    """Divisor of the scores after anneal_steps, reached geometrically; none keeps the first."""
    anneal_steps: Annotated[int, Field(ge=1)] = 1000
    """Training steps over which the temperature changes."""

    def temperature_at(self, step: int) -> float:
        """Return the temperature after `step` training steps."""
        if self.final_temperature is None:
            return self.temperature
        done = min(1.0, step / self.anneal_steps)
        return self.temperature * (self.final_temperature / self.temperature) ** done


def mixture(
    vectors: Vectors, codes: Codes, scores: Callable[[Tensor, Tensor], Tensor], k: int, form: Form, temperature: float
) -> Vectors:
    """Return p sg[codes], `n d`: a carrier whose gradient is that of p with respect to vectors and codes.

    `scores(vectors, codes)` returns `n k`, greater for better codes.
    """

    def part(rows: Tensor, table: Tensor) -> Tensor:
        return soft_topk(scores(rows, table) / temperature, k, form) @ table.detach()

    return torch.cat(
        [
            checkpoint(part, rows, codes, use_reentrant=False, preserve_rng_state=False)
            for rows in chunks(vectors, codes)
        ]
    )


def soft_topk(x: Tensor, k: int, form: Form) -> Tensor:
    """Return weights in [0, 1] that sum to `k` along the last axis: f(x - t), t solving sum f(x_i - t) = k.

    Monotone and invariant to a shift of x; as x grows they become the indicator of the k greatest. Raises ValueError
    when `k` is not below the number of entries.
    """
    if k >= x.shape[-1]:
        raise ValueError(f"Soft assignment got k = {k} for {x.shape[-1]} codes: k must be below the number of codes.")
    with torch.no_grad():
        threshold = SOLVERS[form](x.double(), k).to(x.dtype)
        slope = _slope(x - threshold, form)
        share = slope / slope.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    # The threshold's gradient by the implicit function theorem: dt/dx_j = f'(x_j - t) / sum f'.
    followed = (share * x).sum(dim=-1, keepdim=True)
    # In this order nothing is rounded: the weights are those at the threshold for which the slopes were taken.
    return _weight(x - (threshold + (followed - followed.detach())), form)


def _weight(x: Tensor, form: Form) -> Tensor:
    if form == "exponential":
        return x.clamp_max(0).exp()
    if form == "sigmoid":
        return torch.sigmoid(x)
    return torch.where(x >= 0, 1 - (-x.abs()).exp() / 2, (-x.abs()).exp() / 2)


def _slope(x: Tensor, form: Form) -> Tensor:
    if form == "exponential":
        return torch.where(x < 0, x.exp(), 0.0)
    if form == "sigmoid":
        return torch.sigmoid(x) * torch.sigmoid(-x)
    return (-x.abs()).exp() / 2


def _solve_exponential(x: Tensor, k: int) -> Tensor:
    top = x.topk(k, dim=-1)
    rest = x.scatter(-1, top.indices, -torch.inf).logsumexp(dim=-1, keepdim=True)
    # Logarithms of the sums of all entries from the m-th greatest on, m = 0 ... k - 1.
    tails = torch.cat([top.values, rest], dim=-1).flip(-1).logcumsumexp(dim=-1).flip(-1)[..., :k]
    thresholds = tails - torch.log(torch.arange(k, 0, -1, dtype=x.dtype, device=x.device))
    # The first m whose remaining entries all stay below 1.
    misfits = (thresholds < top.values).long()
    first = misfits.cumprod(dim=-1).sum(dim=-1, keepdim=True).clamp_max(k - 1)
    return thresholds.gather(-1, first)


def _solve_sigmoid(x: Tensor, k: int) -> Tensor:
    logit = torch.logit(torch.tensor(k / x.shape[-1], dtype=x.dtype, device=x.device))
    low, high = x.amin(dim=-1, keepdim=True) - logit, x.amax(dim=-1, keepdim=True) - logit
    threshold = (low + high) / 2
    # Newton's method, and bisection where it would leave the interval that holds the root.
    for _ in range(ITERATIONS):
        weights = torch.sigmoid(x - threshold)
        excess = weights.sum(dim=-1, keepdim=True) - k
        low, high = torch.where(excess > 0, threshold, low), torch.where(excess > 0, high, threshold)
        following = threshold + excess / (weights * (1 - weights)).sum(dim=-1, keepdim=True)
        threshold = torch.where((low <= following) & (following <= high), following, (low + high) / 2)
        if (excess.abs() <= 1e-12 * k).all():
            break
    return threshold


def _solve_smooth(x: Tensor, k: int) -> Tensor:
    # With m entries at or above t, u = e^t solves S1 u^2 - 2 (m - k) u - S2 = 0, S1 = sum of e^-x above, S2 of e^x below.
    ordered = x.sort(dim=-1, descending=True).values
    count = torch.arange(x.shape[-1] + 1, dtype=x.dtype, device=x.device)
    never = torch.full_like(ordered[..., :1], -torch.inf)
    above = torch.cat([never, (-ordered).logcumsumexp(dim=-1)], dim=-1)
    below = torch.cat([ordered.flip(-1).logcumsumexp(dim=-1).flip(-1), never], dim=-1)
    excess = count - k
    # Of the two forms of the root the one without cancellation, in logarithms.
    size = excess.abs().log()
    larger = torch.logaddexp(torch.logaddexp(2 * size, above + below) / 2, size)
    thresholds = torch.where(excess > 0, larger - above, below - larger)
    upper = torch.cat([-never, ordered], dim=-1)
    lower = torch.cat([ordered, never], dim=-1)
    misfit = (thresholds - upper).clamp_min(0) + (lower - thresholds).clamp_min(0)
    best = misfit.nan_to_num(nan=torch.inf).argmin(dim=-1, keepdim=True)
    return thresholds.gather(-1, best)


SOLVERS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "exponential": _solve_exponential,
    "sigmoid": _solve_sigmoid,
    "smooth": _solve_smooth,
}


def chunks(vectors: Tensor, codes: Tensor) -> tuple[Tensor, ...]:
    """Split vectors so that the scores of a part against all codes are few enough to hold."""
    return vectors.split(max(1, SCORES_AT_ONCE // len(codes)))
