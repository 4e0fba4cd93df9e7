"""Soft top-k: weights in [0, 1] that sum to k along an axis, the threshold ones of https://kexue.fm/archives/10373.

All is float64 inside, measured from the k-th greatest score of a row: so neither an offset that all scores share nor a gap
between them costs digits. Derivatives of every order are those of the formula, without the steps that lead to it; with k > 1
those below 1e-16, of weights that float64 cannot tell from 1, have fewer digits.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

Form = Literal["exponential", "sigmoid", "smooth"]

FAR = 1e4
"""Distance from the k-th greatest score beyond which no weight can be told from 0 or 1 in float64."""
NEWTON_STEPS = 6
"""Four are enough for rows of any spread that we tried."""


def soft_topk(x: Tensor, k: int, form: Form) -> Tensor:
    """Return weights in [0, 1] that sum to `k` along the last axis: f(x - t), t solving sum f(x_i - t) = k.

    Monotone and invariant to a shift of x; as x grows they become the indicator of the k greatest. A score of -inf gets 0
    while at least k others are finite. At the kink of the exponential form, which k = 1 does not have, a weight of exactly 1
    has slope 0. Raises ValueError when `k` is not below the number of entries.
    """
    if k >= x.shape[-1]:
        raise ValueError(f"Soft assignment got k = {k} for {x.shape[-1]} codes: k must be below the number of codes.")
    weights: Tensor = _SoftTopK.apply(x.double(), k, form)
    return weights.to(x.dtype)


class _SoftTopK(torch.autograd.Function):
    """The weights as a function of the scores, its derivatives by the implicit function theorem.

    dp_i/dx_j = s_i (1[i = j] - s_j / sum s), s = f'(x - t). As s is a function of p alone, and p the output, the backward
    pass can be differentiated again.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: int, form: Form) -> Tensor:
        most = torch.finfo(x.dtype).max / 4
        x = x.clamp(-most, most)
        kth = x.amax(dim=-1, keepdim=True) if k == 1 else x.topk(k, dim=-1).values[..., -1:]
        x = x.sub_(kth).clamp_(-FAR, FAR)
        weights = WEIGHTS[form](x - SOLVERS[form](x, k))
        ctx.slopes = _softmax_slopes if k == 1 and form == "exponential" else SLOPES[form]
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (weights,) = ctx.saved_tensors
        slope = ctx.slopes(weights)
        total = slope.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(slope.dtype).tiny)
        mean = (slope * upstream).sum(dim=-1, keepdim=True) / total
        return slope * (upstream - mean), None, None


WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "exponential": lambda x: torch.where(x >= 0, 1.0, x.exp()),
    "sigmoid": torch.sigmoid,
    "smooth": lambda x: torch.where(x >= 0, 1 - (-x.abs()).exp() / 2, (-x.abs()).exp() / 2),
}
"""f of the distance to the threshold, in each form."""

SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "exponential": lambda p: torch.where(p >= 1, 0.0, p),
    "sigmoid": lambda p: p * (1 - p),
    "smooth": lambda p: torch.minimum(p, 1 - p),
}
"""f' of the distance to the threshold, as a function of the weight."""


def _softmax_slopes(p: Tensor) -> Tensor:
    # No score passes the threshold, where a weight is 1 by rounding alone.
    return p


def _solve_exponential(x: Tensor, k: int) -> Tensor:
    if k == 1:  # the softmax
        return x.logsumexp(dim=-1, keepdim=True)
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
    # What the k greatest lack of 1 is what the others have: Newton's method on the logarithms of both, whose difference has a
    # slope in [1/2, 2] everywhere, from the root of its straight continuation.
    top = x.topk(k, dim=-1)
    rest = x.scatter(-1, top.indices, -torch.inf)
    threshold = (rest.logsumexp(dim=-1, keepdim=True) - (-top.values).logsumexp(dim=-1, keepdim=True)) / 2
    for _ in range(NEWTON_STEPS):
        lack, lack_growth = _log_sum_of_sigmoids(threshold - top.values)
        have, have_growth = _log_sum_of_sigmoids(rest - threshold)
        threshold = threshold - (lack - have) / (lack_growth + have_growth)
    return threshold


def _log_sum_of_sigmoids(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return log sum sigmoid(x), and its derivative to a shift of x: the mean of sigmoid(-x) by weight."""
    logs = functional.logsigmoid(x)
    total = logs.logsumexp(dim=-1, keepdim=True)
    weights = (logs - total).exp()
    return total, (weights - weights * logs.exp()).sum(dim=-1, keepdim=True)


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
"""The threshold of rows of scores, in each form."""
