"""Codebook usage: how often each code occurs, counted exactly or, for huge vocabularies, in the slots of a hash."""

import math
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from ..tokenizer.devices import in_float64
from ..tokenizer.shapes import Tokens

MAX_COUNTED = 1 << 25
"""Up to this many codes, over all codebooks, are counted one by one (256 MB)."""
SLOTS = 1 << 22
"""Slots over all codebooks when there are more codes (32 MB)."""
_MIX = 0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64)
"""The multipliers of splitmix64 (Steele, Lea and Flood 2014), as int64."""


class Usage(NamedTuple):
    """How the codes of one codebook are used by the tokens that were counted."""

    usage: float
    """Fraction of the codes that occur, in [0, 1]."""
    perplexity: float
    """exp of the entropy of the codes' frequencies: the number of equally frequent codes with that entropy."""
    dead: float
    """Fraction of the codes that do not occur."""


def empty_counts(num_codebooks: int, vocab_size: int, device: torch.device | str = "cpu") -> Tensor:
    """Return counts of zero, int64: `q k`, or `q m` with m < k slots, a power of two, for huge vocabularies."""
    width = vocab_size
    if num_codebooks * vocab_size > MAX_COUNTED:
        width = SLOTS >> (num_codebooks - 1).bit_length()
    return torch.zeros(num_codebooks, width, dtype=torch.int64, device=device)


def estimate_note(counts: Tensor, vocab_size: int) -> str:
    """Return a sentence that says that usage is an estimate; empty when every code was counted."""
    if not is_hashed(counts, vocab_size):
        return ""
    return (
        f"Usage and perplexity are estimates from {counts.shape[1]:,} hash slots, because {codes_text(vocab_size)} codes are "
        "too many to count one by one."
    )


def is_hashed(counts: Tensor, vocab_size: int) -> bool:
    """Return whether counts are those of hash slots, which makes usage an estimate."""
    return counts.shape[1] < vocab_size


def count_tokens(counts: Tensor, tokens: Tokens, vocab_size: int, skip: Tensor | None = None) -> None:
    """Add tokens to counts, in place; none where the boolean scalar `skip` is true, whatever the tokens. No device sync."""
    if skip is not None:
        tokens = torch.where(skip, 0, tokens)
    levels = rearrange(tokens, "b q y x -> q (b y x)")
    if is_hashed(counts, vocab_size):
        levels = hash_slots(levels, counts.shape[1])
    ones = torch.ones_like(levels) if skip is None else (~skip).to(counts.dtype).expand_as(levels)
    counts.scatter_add_(1, levels, ones)


def codes_text(codes: int) -> str:
    """Return a number of codes; a large power of two is written as one, since 2^62 in full is as wide as a table."""
    return f"2^{codes.bit_length() - 1}" if codes > MAX_COUNTED and codes.bit_count() == 1 else f"{codes:,}"


def codebook_usage(counts: Tensor, vocab_size: int) -> list[Usage]:
    """Return the usage of each codebook from its counts, `q k` or `q m`; without tokens usage and perplexity are 0.

    With fewer tokens than codes usage cannot reach 1: report the number of tokens beside it. Waits for the device.

    From m hash slots usage is estimated by linear counting (Whang et al. 1990): D codes fill a fraction 1 - exp(-D/m) of
    the slots. Its standard error is sqrt(m (exp(D/m) - D/m - 1)) codes; with 2^22 slots that is below 0.1 % for D < 2m
    and 1 % at D = 10m. Slots merge codes, so the entropy H(m) over slots is too low by an amount that falls as 1/m for
    any distribution. Comparing m with m/2 and m/4 slots corrects it. The perplexity is right to 2 % for D < m/2. Beyond
    that, the perplexity of even use is too low, by 8 % at D = m and 25 % at D = 2m.
    """
    usages = []
    for level in counts:
        if is_hashed(counts, vocab_size) and bool(level.any()):
            codes, effective = _estimated(level, vocab_size)
        else:
            codes, effective = int((level > 0).sum()), perplexity(level)
        usages.append(Usage(codes / vocab_size, effective, 1 - codes / vocab_size))
    return usages


def perplexity(counts: Tensor) -> float:
    """Return exp of the entropy of some counts; 0 when all are 0. Waits for the device."""
    return math.exp(_entropy(counts)) if int(counts.sum()) else 0.0


def even_usage(tokens: int, vocab_size: int) -> float:
    """Return the fraction of the codes that are expected to occur if each token is any code with equal probability."""
    return -math.expm1(tokens * math.log1p(-1 / vocab_size)) if vocab_size > 1 else float(tokens > 0)


def hash_slots(tokens: Tensor, slots: int) -> Tensor:
    """Return the slot of each token: the last bits of its splitmix64, which sends neighbouring codes far apart."""
    mixed = (tokens ^ (tokens >> 30)) * _MIX[0]
    mixed = (mixed ^ _shifted(mixed, 27)) * _MIX[1]
    return (mixed ^ _shifted(mixed, 31)) & (slots - 1)


def _estimated(counts: Tensor, vocab_size: int) -> tuple[float, float]:
    """Return how many codes occur, and their perplexity, from hash slots."""
    slots, tokens = len(counts), int(counts.sum())
    filled = int((counts > 0).sum())
    empty = max(slots - filled, 0.5) / slots  # with no empty slot, half a slot gives a lower bound
    max_codes = min(tokens, vocab_size)
    codes = min(max(filled, math.log(empty) / math.log1p(-1 / slots)), max_codes)
    halves = counts.reshape(2, -1).sum(dim=0)
    whole, half, quarter = (_entropy(each) for each in (counts, halves, halves.reshape(2, -1).sum(dim=0)))
    entropy = (8 * whole - 6 * half + quarter) / 3
    return codes, math.exp(min(max(entropy, whole), math.log(codes)))


def _entropy(counts: Tensor) -> float:
    frequencies = in_float64(counts[counts > 0]) / int(counts.sum())
    return float(torch.special.entr(frequencies).sum())


def _shifted(values: Tensor, bits: int) -> Tensor:
    # A plain shift of int64 would repeat the sign bit.
    return (values >> bits) & ((1 << (64 - bits)) - 1)
