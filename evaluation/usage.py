"""Codebook usage: pure functions of token counts and latents."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..tokenizer.shapes import Latent
from .token_counts import is_hashed


class Usage(NamedTuple):
    """How the codes of one codebook are used by the tokens that were counted."""

    usage: float
    """Fraction of the codes that occur, in [0, 1]."""
    perplexity: float
    """exp of the entropy of the codes' frequencies: the number of equally frequent codes with that entropy."""
    dead: float
    """Fraction of the codes that do not occur."""


def codebook_usage(counts: Tensor, vocab_size: int) -> list[Usage]:
    """Return the usage of each codebook from its counts, `q k` or `q m`; without tokens usage and perplexity are 0.

    With fewer tokens than codes usage cannot reach 1: report the number of tokens beside it. Waits for the device.

    From m hash slots usage is estimated by linear counting (Whang et al. 1990): D codes fill a fraction 1 - exp(-D/m) of
    the slots. Its standard error is sqrt(m (exp(D/m) - D/m - 1)) codes; with 2^22 slots that is below 0.1 % for D < 2m
    and 1 % at D = 10m. Slots merge codes, so the entropy H(m) over slots is too low by an amount that falls as 1/m for
    any distribution; comparing m with m/2 and m/4 slots corrects it. The perplexity is right to 2 % for D < m/2. Beyond
    that, the perplexity of even use is too low, by 8 % at D = m and 25 % at D = 2m.
    """
    estimate = _estimated if is_hashed(counts, vocab_size) else _counted
    return [estimate(level, vocab_size) if int(level.sum()) else Usage(0.0, 0.0, 1.0) for level in counts]


def perplexity(counts: Tensor) -> float:
    """Return exp of the entropy of some counts; 0 when all are 0. Waits for the device."""
    return math.exp(_entropy(counts)) if int(counts.sum()) else 0.0


def distortion(projected: Latent, quantized: Latent) -> Tensor:
    """Return the mean squared distance per channel between latents in code space and their codes, a scalar."""
    return (projected.detach().float() - quantized.detach().float()).square().mean()


def _counted(counts: Tensor, _vocab_size: int) -> Usage:
    used = int((counts > 0).sum()) / len(counts)
    return Usage(used, perplexity(counts), 1 - used)


def _estimated(counts: Tensor, vocab_size: int) -> Usage:
    slots, tokens = len(counts), int(counts.sum())
    filled = int((counts > 0).sum())
    empty = max(slots - filled, 0.5) / slots  # with no empty slot, half a slot gives a lower bound
    max_codes = min(tokens, vocab_size)
    codes = min(max(filled, math.log(empty) / math.log1p(-1 / slots)), max_codes)
    halves = counts.reshape(2, -1).sum(dim=0)
    whole, half, quarter = (_entropy(each) for each in (counts, halves, halves.reshape(2, -1).sum(dim=0)))
    entropy = (8 * whole - 6 * half + quarter) / 3
    used = codes / vocab_size
    return Usage(used, math.exp(min(max(entropy, whole), math.log(codes))), 1 - used)


def _entropy(counts: Tensor) -> float:
    frequencies = counts[counts > 0].double() / counts.sum()
    return float(torch.special.entr(frequencies).sum())
