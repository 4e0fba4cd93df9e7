"""Sets of ids, one for each row, and what they leave of logits."""

from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

LOWEST = -1e30
"""Far below any logit, and still finite after division by a temperature."""


class Ranges(NamedTuple):
    """Ids from `first` up to but not including `end`, int64 `b`, or `1` where all rows have the same."""

    first: Tensor
    end: Tensor

    def mask(self, size: int) -> Tensor:
        """Return which of `size` ids are in the range, boolean `b v`."""
        ids = torch.arange(size, device=self.first.device, dtype=torch.int32)
        return (ids >= self.first[:, None].int()) & (ids < self.end[:, None].int())


class Inside(NamedTuple):
    """What is allowed next in the image of each row, where it is in one."""

    ranges: Ranges
    lengths: Tensor
    """Ids of the image, `b` or `1`."""
    choosing: Tensor | None = None
    """Rows `b` whose grid is not written yet, if there are any."""
    open_to: Tensor | None = None
    """What is allowed in these, `b v`."""

    def mask(self, size: int) -> Tensor:
        """Return which of `size` ids are allowed, boolean `b v` or `1 v`."""
        ranges = self.ranges.mask(size)
        if self.choosing is None or self.open_to is None:
            return ranges
        return torch.where(self.choosing[:, None], self.open_to, ranges)


def allow(scores: Tensor, allowed: Tensor) -> Tensor:
    """Return scores `b v` with -inf for all ids that are not allowed, boolean `b v` or `1 v`; those that are keep theirs.

    An allowed id with -inf (overflow in half precision, or an earlier filter) gets a finite score of probability 0 instead, so
    a row has a choice even if all that is allowed in it had -inf.
    """
    lowest = max(LOWEST, torch.finfo(scores.dtype).min)
    return torch.where(allowed, scores.clamp(min=lowest), -inf)


def allow_range(logits: Tensor, first: int, size: int) -> Tensor:
    """Return logits `b v` with -inf for all but `size` ids from `first` on: one of a layout's slots, for one's own loop."""
    if first < 0 or size < 1:
        raise ValueError(
            f"The range is of {size} ids from {first} on, but must have at least one, and begin at 0 or above."
        )
    if first + size > logits.shape[-1]:
        raise ValueError(
            f"The logits have {logits.shape[-1]} ids, but must have ids up to {first + size - 1}: extend the model for the "
            "vocabulary."
        )
    allowed = torch.zeros(1, logits.shape[-1], dtype=torch.bool, device=logits.device)
    allowed[:, first : first + size] = True
    return allow(logits, allowed)


def union_mask(first: Tensor, end: Tensor, counted: Tensor, size: int) -> Tensor:
    """Return which of `size` ids are in any of the ranges `b g` that are counted, boolean `b v`.

    Each range adds 1 at its first id and takes it away at its end, so memory is that of `b v`, however many ranges there are.
    """
    steps = torch.zeros(len(counted), size + 1, dtype=torch.int32, device=counted.device)
    weights = counted.int()
    steps.scatter_add_(1, first.where(counted, 0), weights)
    steps.scatter_add_(1, end.where(counted, 0), -weights)
    return steps.cumsum(1, dtype=torch.int32)[:, :size] > 0
