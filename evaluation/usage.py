"""Statistics of how a codebook is used: pure functions of token counts and latents."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..tokenizer.shapes import Latent
from .token_counts import is_hashed


class Usage(NamedTuple):
    """How the codes of one codebook are used, over the tokens that were counted."""

    usage: float
    """Fraction of the codes that occur, in [0, 1]."""
    perplexity: float
    """exp of the entropy of the codes' frequencies: as many equally frequent codes would have that entropy."""
    dead: float
    """Fraction of the codes that do not occur."""


def codebook_usage(counts: Tensor, vocab_size: int) -> list[Usage]:
    """Return the usage of each codebook from its counts, `q k` or `q m`; no token at all is usage 0 and perplexity 0.

    With fewer tokens than codes usage cannot reach 1: state the number of tokens beside it.

    From m slots it is an estimate of what counting one by one would give. Usage is linear counting (Whang et al. 1990):
    D codes fill a fraction 1 - exp(-D/m) of the slots; its standard error is sqrt(m (exp(D/m) - D/m - 1)) codes, of 2^22
    slots below 0.1 % while D < 2m and 1 % at D = 10m. Slots merge codes, so the entropy H(m) over slots is too low, by an
    amount that falls as 1/m whatever the distribution; that is taken off by comparing m with m/2 and m/4 slots. The
    perplexity is right to 2 % while D < m/2; above, that of even use is too low, by 8 % at D = m and 25 % at D = 2m.
    """
    estimate = _estimated if is_hashed(counts, vocab_size) else _counted
    return [estimate(level, vocab_size) if int(level.sum()) else Usage(0.0, 0.0, 1.0) for level in counts]


def perplexity(counts: Tensor) -> float:
    """Return exp of the entropy of some counts; 0 when there are none."""
    return math.exp(_entropy(counts)) if int(counts.sum()) else 0.0


def distortion(projected: Latent, quantized: Latent) -> Tensor:
    """Return the mean squared distance a channel between latents, as they are compared, and their codes: a scalar."""
    return (projected.detach().float() - quantized.detach().float()).square().mean()


def _counted(counts: Tensor, _vocab_size: int) -> Usage:
    used = int((counts > 0).sum()) / len(counts)
    return Usage(used, perplexity(counts), 1 - used)


def _estimated(counts: Tensor, vocab_size: int) -> Usage:
    slots, tokens = len(counts), int(counts.sum())
    filled = int((counts > 0).sum())
    empty = max(slots - filled, 0.5) / slots  # half a slot when none is empty: at least as many codes are in use
    most = min(tokens, vocab_size)
    codes = min(max(filled, math.log(empty) / math.log1p(-1 / slots)), most)
    halves = counts.reshape(2, -1).sum(dim=0)
    whole, half, quarter = (_entropy(each) for each in (counts, halves, halves.reshape(2, -1).sum(dim=0)))
    entropy = (8 * whole - 6 * half + quarter) / 3
    used = codes / vocab_size
    return Usage(used, math.exp(min(max(entropy, whole), math.log(codes))), 1 - used)


def _entropy(counts: Tensor) -> float:
    frequencies = counts[counts > 0].double() / counts.sum()
    return float(torch.special.entr(frequencies).sum())
