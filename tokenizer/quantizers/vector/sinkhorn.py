"""Balanced assignment of latents to codes by optimal transport (OptVQ, arXiv 2412.15195)."""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, TypeAlias

import torch
from pydantic import Field
from torch import Tensor

from ...config import Config
from ...devices import over_ranks
from ...shapes import CodeIndices, Codes, Vectors
from ..entropy import chunks
from ..scale import scale_to_one

Scores: TypeAlias = Callable[[Tensor, Tensor], Tensor]
MIN_DEVIATION = 1e-18
"""Min divisor of the scores, so that codes that are all equal do not give NaN."""


class SinkhornConfig(Config):
    """How evenly a training batch is spread over the codes."""

    epsilon: Annotated[float, Field(gt=0)] = 0.1
    """Weight of the entropy, in standard deviations of the scores; smaller is closer to the best balanced choice, but takes
    more iterations."""
    iterations: Annotated[int, Field(ge=1)] = 5
    """Rounds of Sinkhorn's algorithm."""


@torch.no_grad()
def balanced_codes(vectors: Vectors, codes: Codes, scores: Scores, config: SinkhornConfig) -> CodeIndices:
    """Return for each vector the index of the code with most of its mass, in a plan that gives all codes equal mass.

    The plan P maximises <P, scores> + epsilon sd H(P), with equal mass for the vectors of all ranks and equal mass for the
    codes: P = exp(f_i + s_ij / (epsilon sd) + g_j). `scores(vectors, codes)` returns `n k`, up to a constant of each vector.
    For euclidean similarity the cost is thus the squared distance; the authors' is the distance. sd is the standard deviation
    of the scores without the means of vectors and codes, which f and g absorb. So epsilon means the same for scattered and
    for clustered codes. Sinkhorn's algorithm works on f and g, in logarithms, so nothing overflows however
    small epsilon is. It starts where all codes are equally far on average. A tie goes to the lowest index.

    Each iteration calculates the scores anew, chunk by chunk, and never holds them all. Time is proportional to latents times
    codes times `iterations`: with 5, about 30 plain searches on a CPU. All ranks have the same g, which balances the codes
    over the whole batch. No device sync. A vector that is not finite counts as 0.
    """
    scale = scale_to_one(codes)  # of the codes alone, which are the same on all ranks
    codes = codes * scale
    parts = chunks((vectors * scale).nan_to_num(0.0, 0.0, 0.0), codes)

    def centred() -> Iterator[Tensor]:
        for part in parts:
            found = scores(part, codes)
            yield found - found.mean(dim=1, keepdim=True)

    count = over_ranks(codes.new_full((), len(vectors))).clamp_min(1)
    mean = over_ranks(_sum(part.sum(dim=0) for part in centred())) / count
    variance = over_ranks(_sum((part - mean).square().mean(dim=1).sum() for part in centred())) / count
    weight = config.epsilon * variance.sqrt().clamp_min(MIN_DEVIATION)

    def scaled() -> Iterator[Tensor]:
        return ((part - mean) / weight for part in centred())

    potential = torch.zeros_like(mean)
    for _ in range(config.iterations):
        columns = torch.full_like(potential, -torch.inf)
        for part in scaled():
            rows = torch.log_softmax(part + potential, dim=1) - potential  # f_i + s_ij
            columns = torch.logaddexp(columns, rows.logsumexp(dim=0))
        potential = -_log_sum_over_ranks(columns)
    return torch.cat([(part + potential).argmax(dim=1) for part in scaled()])


def _sum(values: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.add, values)


def _log_sum_over_ranks(logs: Tensor) -> Tensor:
    """Return the logarithms of the sums over all processes of exp(logs)."""
    highest = over_ranks(logs, "MAX").clamp_min(torch.finfo(logs.dtype).min)
    return highest + over_ranks((logs - highest).exp()).log()
