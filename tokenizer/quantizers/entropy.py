"""Entropies of soft assignments: how sure latents are of their code, and how evenly the codes are used."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, distributed
from torch.nn import functional

from ..shapes import Codes, Vectors

Part: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


SCORES_AT_ONCE = 1 << 22


class Entropies(NamedTuple):
    """Entropies of the distributions p over codes that latents have, in nats."""

    sample: Tensor
    """Mean entropy of a latent's p: low when latents are sure of their code."""
    codebook: Tensor
    """Entropy of the mean p over latents and ranks: high when all codes are used alike."""


def assignment_entropies(
    vectors: Vectors, codes: Codes, scores: Callable[[Tensor, Tensor], Tensor], temperature: float
) -> Entropies:
    """Return the entropies of p = softmax(scores(vectors, codes) / temperature), with gradients to vectors and codes.

    Beside the gradients, memory holds the scores of a few latents and a few vectors of a number a code: p is made chunk by
    chunk, and again in the backward pass.
    """

    def part(rows: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        logs = torch.log_softmax(scores(rows, table) / temperature, dim=-1)
        p = logs.exp()
        return -(p * logs).sum(), p.sum(dim=0)

    sample, mean = _MeanOverLatents.apply(vectors, codes, part)
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
    # By where and not by clamp, whose gradient at the bound differs between versions of torch.
    return -(probabilities * torch.where(probabilities > least, probabilities, least).log()).sum()


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


class _MeanOverLatents(torch.autograd.Function):
    """Mean over latents of what `part(rows, codes)` returns the sums of: a scalar and a number a code."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, codes: Tensor, part: Part) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(vectors, codes)
        ctx.part = part
        scalar, total = vectors.new_zeros(()), vectors.new_zeros(len(codes))
        for rows in chunks(vectors, codes):
            of_rows, of_codes = part(rows, codes)
            scalar += of_rows
            total += of_codes
        return scalar / len(vectors), total / len(vectors)

    @staticmethod
    def backward(ctx: Any, by_scalar: Tensor, by_total: Tensor) -> tuple[Tensor, Tensor, None]:
        vectors, codes = ctx.saved_tensors
        upstream = by_scalar / len(vectors), by_total / len(vectors)
        table = codes.detach().requires_grad_()
        by_vectors, by_codes = torch.empty_like(vectors), torch.zeros_like(codes)
        for rows, place in zip(chunks(vectors, codes), chunks(by_vectors, codes), strict=True):
            leaf = rows.detach().requires_grad_()
            # A caller's autocast would make the scores anew in half precision.
            with torch.enable_grad(), torch.autocast(vectors.device.type, enabled=False):
                of_rows, of_codes = torch.autograd.grad(ctx.part(leaf, table), (leaf, table), upstream)
            place.copy_(of_rows)
            by_codes += of_codes
        return by_vectors, by_codes, None


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


def chunks(vectors: Tensor, codes: Tensor) -> tuple[Tensor, ...]:
    """Split vectors so that the scores of a part against all codes are few enough to hold."""
    return vectors.split(max(1, SCORES_AT_ONCE // len(codes)))
