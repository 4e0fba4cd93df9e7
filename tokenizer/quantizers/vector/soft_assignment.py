"""Soft assignment of latents to codes, so that the gradient reaches every code and not the chosen one alone.

The index of a latent is made differentiable as onehot + p - sg[p], where p = ST_k(scores / temperature) sums to k
(https://kexue.fm/archives/10373). With k = 1 and the exponential form p is the softmax, and with dot products as scores
this is index back-propagation (IBQ, arXiv 2412.02692). The rows `n k` of p are never held at once: they are made chunk by
chunk, and again in the backward pass.
"""

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ...config import Config
from ...shapes import Codes, Vectors
from ..entropy import chunks
from .soft_topk import Form, soft_topk


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
