"""Expected usage and perplexity of a number of tokens: under even use, or drawn from an earlier window."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...evaluation.usage import perplexity

MAX_SUMMED = 1000.0
"""Tokens per code up to which the Poisson sum is taken term by term."""


class Spread(NamedTuple):
    """How many codes some tokens use, and how evenly."""

    codes: float
    """Different codes among the tokens."""
    perplexity: float


class CountHistogram(NamedTuple):
    """Which counts occur in a window, and how many codes have each."""

    counts: Tensor
    codes: Tensor

    @classmethod
    def of(cls, counts: Tensor) -> "CountHistogram":
        """Return the histogram of the counts ` k` of a codebook."""
        return cls(*torch.unique(counts[counts > 0], return_counts=True))

    @property
    def tokens(self) -> int:
        """Number of tokens in the window."""
        return int((self.counts * self.codes).sum())

    def spread(self, tokens: int) -> Spread:
        """Return the spread of all tokens, or of fewer drawn from them, always the same ones."""
        counts = self.counts.repeat_interleave(self.codes)
        if tokens < self.tokens:
            drawn = np.random.default_rng(0).binomial(counts.numpy(), tokens / self.tokens)
            counts = torch.from_numpy(drawn)
        return Spread(int((counts > 0).sum()), perplexity(counts))


def even_spread(tokens: int, codes: int) -> Spread:
    """Return the expected spread of n tokens when all k codes are equally likely.

    Codes: k (1 - (1 - 1/k)^n). Perplexity: n / exp E log(1 + Poisson((n - 1) / k)), since the entropy of n tokens is
    log n - E log c, with c the count of a token's code: 1 and a Poisson-distributed number of others.
    """
    if codes == 1 or tokens <= 1:
        return Spread(min(tokens, 1), min(tokens, 1))
    found = -math.expm1(tokens * math.log1p(-1 / codes)) * codes
    return Spread(found, min(float(codes), tokens / math.exp(_log_count((tokens - 1) / codes))))


def _log_count(others: float) -> float:
    """Return E log(1 + c) for c Poisson-distributed with mean `others`."""
    if others > MAX_SUMMED:
        return math.log1p(others) - others / (2 * (1 + others) ** 2)
    counts = torch.arange(int(others + 12 * math.sqrt(others)) + 30, dtype=torch.float64)
    chances = torch.exp(counts * math.log(others) - others - torch.lgamma(counts + 1))
    return float((chances * torch.log1p(counts)).sum())
