"""Sums and maxima of channels under all combinations of signs, by doubling."""

from collections.abc import Callable

import torch
from torch import Tensor


def signed_sums(half: Tensor) -> Tensor:
    """Return the sums of channels `c n` with all signs, `2^c n`: bit i of the index says that channel i is negated."""
    return _by_signs(half, 0.0, torch.add)


def signed_maxima(half: Tensor) -> Tensor:
    """Return the max of channels `c n` with the opposite of all signs, `2^c n`."""
    return _by_signs(-half, -torch.inf, torch.maximum)


def _by_signs(half: Tensor, start: float, combine: Callable[..., Tensor]) -> Tensor:
    found = half.new_empty(1 << len(half), half.shape[1])
    found[0].fill_(start)
    for index, channel in enumerate(half):
        plus, minus = found[: 1 << index], found[1 << index : 2 << index]
        combine(plus, -channel, out=minus)
        combine(plus, channel, out=plus)
    return found


def first_max(values: Tensor) -> Tensor:
    """Return the index of the max of each column, the first of equal ones."""
    return values.T.contiguous().argmax(dim=1)
