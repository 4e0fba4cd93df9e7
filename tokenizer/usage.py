"""Statistics of how a codebook is used: pure functions of token counts and latents."""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from .shapes import Latent, Tokens


class Usage(NamedTuple):
    """How the codes of one codebook are used, over the tokens that were counted."""

    usage: float
    """Share of the codes that occur, in [0, 1]."""
    perplexity: float
    """exp of the entropy of the codes' frequencies: as many equally frequent codes would have that entropy."""
    dead: float
    """Share of the codes that do not occur."""


MOST_COUNTED = 1 << 24
"""Codes of a codebook that are counted one by one (128 MB)."""


def no_counts(num_codebooks: int, vocab_size: int, device: torch.device | str = "cpu") -> Tensor:
    """Return counts `q k` of no token; raise ValueError when the codes are too many to count one by one."""
    if vocab_size > MOST_COUNTED:
        raise ValueError(
            f"Usage of a codebook of {vocab_size:,} codes was asked for, but at most {MOST_COUNTED:,} can be counted: take a "
            "smaller codebook, or several (grouped)."
        )
    return torch.zeros(num_codebooks, vocab_size, dtype=torch.int64, device=device)


def count_tokens(tokens: Tokens, vocab_size: int) -> Tensor:
    """Return how often each code occurs, `q k` int64; raise ValueError as `no_counts`; the device is not waited for."""
    levels = rearrange(tokens, "b q y x -> q (b y x)")
    return no_counts(len(levels), vocab_size, tokens.device).scatter_add_(1, levels, torch.ones_like(levels))


def codebook_usage(counts: Tensor) -> list[Usage]:
    """Return the usage of each codebook from its counts `q k`; no token at all is usage 0 and perplexity 0.

    With fewer tokens than codes usage cannot reach 1: state the number of tokens beside it.
    """
    return [_usage(level) for level in counts]


def _usage(counts: Tensor) -> Usage:
    total = int(counts.sum())
    used = float((counts > 0).float().mean())
    if total == 0:
        return Usage(0.0, 0.0, 1.0)
    frequencies = counts[counts > 0].double() / total
    perplexity = float(torch.exp(-(frequencies * frequencies.log()).sum()))
    return Usage(used, perplexity, 1 - used)


def distortion(projected: Latent, quantized: Latent) -> Tensor:
    """Return the mean squared distance a channel between latents, as they are compared, and their codes: a scalar."""
    return (projected.detach().float() - quantized.detach().float()).square().mean()
