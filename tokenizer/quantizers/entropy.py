"""Entropies of soft assignments: how sure latents are of their code, and how evenly the codes are used."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ..shapes import Codes, Vectors
from .soft import chunks


class Entropies(NamedTuple):
    """Entropies of the distributions p over codes that latents have, in nats."""

    sample: Tensor
    """Mean entropy of a latent's p: low when latents are sure of their code."""
    codebook: Tensor
    """Entropy of the mean p over latents and ranks: high when all codes are used alike."""


def assignment_entropies(
    vectors: Vectors, codes: Codes, scores: Callable[[Tensor, Tensor], Tensor], temperature: float
) -> Entropies:
    """Return the entropies of p = softmax(scores(vectors, codes) / temperature), with gradients, in bounded memory."""

    def part(rows: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        logs = torch.log_softmax(scores(rows, table) / temperature, dim=-1)
        return -(logs.exp() * logs).sum(), logs.exp().sum(dim=0)

    parts = [checkpoint(part, rows, codes, use_reentrant=False) for rows in chunks(vectors, codes)]
    sample = torch.stack([entropy for entropy, _ in parts]).sum() / len(vectors)
    mean = torch.stack([total for _, total in parts]).sum(dim=0) / len(vectors)
    return Entropies(sample, entropy(mean_over_ranks(mean)))


def binary_entropies(logits: Tensor, group: int) -> Entropies:
    """Return the entropies of codes whose bits are independent, with the given logits `n d`.

    The codebook entropy is that of groups of `group` neighbouring bits, summed: exact with group = d, else greater.
    """
    # H = softplus(l) - l sigmoid(l), which stays exact where the probability rounds to 0 or 1.
    sample = (functional.softplus(logits) - logits * torch.sigmoid(logits)).sum(dim=1).mean()
    means = [_joint(part).mean(dim=0) for part in torch.sigmoid(logits).split(group, dim=1)]
    return Entropies(sample, torch.stack([entropy(mean_over_ranks(mean)) for mean in means]).sum())


def entropy(probabilities: Tensor) -> Tensor:
    """Return -sum p log p, with a finite gradient where p is 0."""
    least = torch.finfo(probabilities.dtype).tiny
    return -(probabilities * probabilities.clamp_min(least).log()).sum()


def mean_over_ranks(mean: Tensor) -> Tensor:
    """Average over all processes, with the gradient: every rank's latents feel the mean of all."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return mean
    total = _SumOverRanks.apply(mean)
    assert isinstance(total, Tensor)
    return total / distributed.get_world_size()


def _joint(on: Tensor) -> Tensor:
    """Return the probabilities `n 2^g` of all combinations of independent bits `n g`."""
    joint = torch.ones_like(on[:, :1])
    for bit in on.split(1, dim=1):
        joint = torch.cat([joint * (1 - bit), joint * bit], dim=1)
    return joint


class _SumOverRanks(torch.autograd.Function):
    """Sum over processes; what all of them feel of the sum, each of them feels of its part."""

    @staticmethod
    def forward(_: Any, part: Tensor) -> Tensor:
        total = part.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total
