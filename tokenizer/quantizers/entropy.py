"""Entropies of soft assignments: how certain latents are of their code, and how evenly the codes are used."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ..devices import is_distributed, over_ranks
from ..shapes import Codes, Vectors

SCORES_AT_ONCE = 1 << 22
"""Scores of vectors against codes that are in memory at a time (16 MB in float32)."""


def assignment_entropies(
    vectors: Vectors, codes: Codes, scores: Callable[[Tensor, Tensor], Tensor], temperature: float
) -> dict[str, Tensor]:
    """Return the losses of p = softmax(scores(vectors, codes) / temperature), with gradients to vectors and codes, in nats.

    `sample_entropy` is the mean entropy of a latent's p: low when latents are certain of their code. `codebook_entropy` is
    that of the mean p over latents and ranks, negated: low when all codes are used evenly.

    Memory never holds all of p: it is computed chunk by chunk, and again in the backward pass.
    """

    def sums(rows: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        logs = torch.log_softmax(scores(rows, table) / temperature, dim=-1)
        p = logs.exp()
        return -(p * logs).sum(), p.sum(dim=0)

    sample, total = vectors.new_zeros(()), vectors.new_zeros(len(codes))
    for rows in chunks(vectors, codes):
        chunk_sample, chunk_total = checkpoint(sums, rows, codes, use_reentrant=False, preserve_rng_state=False)
        sample, total = sample + chunk_sample, total + chunk_total
    codebook = entropy(mean_over_ranks(total / len(vectors)))
    return {"sample_entropy": sample / len(vectors), "codebook_entropy": -codebook}


def binary_entropies(logits: Tensor, group: int) -> dict[str, Tensor]:
    """Return the losses of `assignment_entropies` for codes whose bits are independent, with the given logits `n d`.

    The codebook entropy is summed over groups of `group` neighbouring bits: exact with group = d, an upper bound otherwise.
    """
    # H = softplus(l) - l sigmoid(l), which stays exact where the probability rounds to 0 or 1.
    sample = (functional.softplus(logits) - logits * torch.sigmoid(logits)).sum(dim=1).mean()
    means = [_joint(part).mean(dim=0) for part in torch.sigmoid(logits).split(group, dim=1)]
    codebook = torch.stack([entropy(mean_over_ranks(mean)) for mean in means]).sum()
    return {"sample_entropy": sample, "codebook_entropy": -codebook}


def entropy(probabilities: Tensor) -> Tensor:
    """Return -sum p log p, with a finite gradient where p is 0."""
    tiny = torch.finfo(probabilities.dtype).tiny
    # Not by clamp, whose gradient at the bound differs between versions of torch.
    return -(probabilities * torch.where(probabilities > tiny, probabilities, tiny).log()).sum()


def mean_over_ranks(mean: Tensor) -> Tensor:
    """Average over all processes, with gradients to the latents of every rank."""
    if not is_distributed():
        return mean
    total: Tensor = _SumOverRanks.apply(mean)
    return total / distributed.get_world_size()


def _joint(on: Tensor) -> Tensor:
    """Return the probabilities `n 2^g` of all combinations of independent bits with probabilities `n g`."""
    joint = torch.ones_like(on[:, :1])
    for bit in on.split(1, dim=1):
        joint = torch.cat([joint * (1 - bit), joint * bit], dim=1)
    return joint


class _SumOverRanks(torch.autograd.Function):
    """Sum over processes; the gradient of each is the sum of all gradients."""

    @staticmethod
    def forward(_: Any, part: Tensor) -> Tensor:
        return over_ranks(part)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return over_ranks(gradient)


def chunks(vectors: Tensor, codes: Tensor) -> tuple[Tensor, ...]:
    """Split vectors so that the scores of a chunk against all codes fit into memory."""
    return vectors.split(max(1, SCORES_AT_ONCE // len(codes)))
