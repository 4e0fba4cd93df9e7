"""Classifier-free guidance on logits, safe where ids are forbidden."""

from collections.abc import Callable
from math import inf, isfinite
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from ...tokenizer.wording import shown


def guided(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Return `u + scale (c - u)` of two sets of logits `b v`, as log probabilities in float32.

    c and u are log probabilities: Ho and Salimans 2022 (arXiv 2207.12598), equation 6 with w = scale - 1, for language models
    Sanchez et al. 2023 (arXiv 2306.17806), equation 7. An id that c forbids (-inf) is forbidden, one that only u forbids keeps
    c.
    """
    c, u = (_log_probabilities(logits) for logits in (conditional, unconditional))
    difference = (c - u).masked_fill(c.isneginf() | u.isneginf(), 0)
    return _log_probabilities(c + (scale - 1) * difference)


def _log_probabilities(logits: Tensor) -> Tensor:
    """Return the log of softmax; a row that forbids all ids, as a beam that is given up has, stays so instead of NaN."""
    return logits.float().log_softmax(-1).masked_fill(logits.isneginf(), -inf)


def check_scale(scale: Any) -> None:
    """Raise ValueError unless a guidance scale is a number from 0 up."""
    is_number = isinstance(scale, Real) and not isinstance(scale, bool)
    if not (is_number and isfinite(scale) and scale >= 0):
        raise ValueError(
            f"The guidance scale is {shown(scale)}, but must be a number from 0 up; 1 is without guidance."
        )


class Guidance:
    """A logits processor for classifier-free guidance.

    Without `unconditional`, the first half of the rows is conditional and the second half, in the same order, unconditional;
    both halves get the guided scores, and must go on with the same ids: take the largest score, or draw with `PairedDraw`. With
    `unconditional(input_ids) -> logits`, all rows are conditional; see `CachedUnconditional`.

    A scale of 1 leaves the scores of conditional rows as they are. Before a constraint or after it, the probabilities are the
    same. With beams, which add up scores, put it before: then they are sums of the guided model's log probabilities.
    """

    def __init__(self, scale: float, unconditional: Callable[[Tensor], Tensor] | None = None):
        check_scale(scale)
        self.scale, self.unconditional = scale, unconditional

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores of the same shape, float32 unless the scale is 1."""
        if self.unconditional is None:
            return self._of_halves(scores)
        if self.scale == 1:
            return scores
        unconditional = self.unconditional(input_ids)
        if unconditional.shape != scores.shape:
            raise ValueError(
                f"The unconditional logits have the shape {tuple(unconditional.shape)}, but must have that of the scores, "
                f"{tuple(scores.shape)}."
            )
        return guided(scores, unconditional, self.scale)

    def _of_halves(self, scores: Tensor) -> Tensor:
        if len(scores) % 2:
            raise ValueError(
                f"The scores have {len(scores)} rows, but must have an unconditional row for each conditional one: give both "
                "prompts, or a callable for the unconditional logits."
            )
        conditional, unconditional = scores.chunk(2)
        rows = conditional if self.scale == 1 else guided(conditional, unconditional, self.scale)
        return torch.cat([rows, rows])
