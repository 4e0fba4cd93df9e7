"""Sums and maxima of channels under all combinations of signs, by doubling."""

import torch
from torch import Tensor


def signed_sums(half: Tensor) -> Tensor:
    """Return the sums of channels `c n` with all signs, `2^c n`: bit i of the index says that channel i is negated."""
    sums = half.new_empty(1 << len(half), half.shape[1])
    sums[0] = 0
    for index, channel in enumerate(half):
        plus, minus = sums[: 1 << index], sums[1 << index : 2 << index]
        torch.sub(plus, channel, out=minus)
        plus.add_(channel)
    return sums


def signed_maxima(half: Tensor) -> Tensor:
    """Return the max of channels `c n` with the opposite of all signs, `2^c n`."""
    maxima = half.new_empty(1 << len(half), half.shape[1])
    maxima[0] = -torch.inf
    for index, channel in enumerate(half):
        plus, minus = maxima[: 1 << index], maxima[1 << index : 2 << index]
        torch.maximum(plus, channel, out=minus)
        torch.maximum(plus, -channel, out=plus)
    return maxima


def first_max(values: Tensor) -> Tensor:
    """Return the index of the max of each column, the first of equal ones."""
    return values.T.contiguous().argmax(dim=1)
