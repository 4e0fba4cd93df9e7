"""What even use would look like: as many tokens as were counted, each any code with equal probability."""

import math

import numpy as np
from numpy.typing import NDArray

REACH = 12.0
"""Standard deviations around the mean beyond which no code is expected, even among 2^25."""

WITHOUT_SPREAD = 1e6
"""Tokens per code above which all codes count as equally frequent; their standard deviation is a thousandth."""


def even_counts(tokens: int, vocab_size: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return numbers of tokens per code in ascending order, and how many codes are expected to have each.

    The number of a code is binomial: `tokens` draws, each with probability 1 / vocab_size.
    """
    mean = tokens / vocab_size
    if vocab_size == 1 or not tokens or mean > WITHOUT_SPREAD:
        return np.array([round(mean)]), np.array([float(vocab_size)])
    reach = REACH * math.sqrt(mean) + 30
    numbers = np.arange(max(0, math.floor(mean - reach)), min(tokens, math.ceil(mean + reach)) + 1)
    steps = np.log((tokens - numbers[:-1]) / (numbers[1:] * (vocab_size - 1.0)))
    logs = np.concatenate([[0.0], np.cumsum(steps)])  # from one to the next, as factorials would lose digits
    weights = np.exp(logs - logs.max())
    return numbers, vocab_size * weights / weights.sum()


def even_perplexity(tokens: int, vocab_size: int) -> float:
    """Return the perplexity that even use shows: exp of the expected entropy of the frequencies; 0 without tokens.

    It is below `vocab_size`, far below with few tokens, which cannot be in many codes.
    """
    if not tokens:
        return 0.0
    numbers, codes = even_counts(tokens, vocab_size)
    entropy = math.log(tokens) - float((codes * numbers * np.log(np.maximum(numbers, 1))).sum()) / tokens
    return min(math.exp(entropy), float(vocab_size))
