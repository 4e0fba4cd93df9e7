"""How often each code occurs, counted exactly or, for huge vocabularies, in the slots of a hash."""

import torch
from einops import rearrange
from torch import Tensor

from ..tokenizer.shapes import Tokens

MAX_COUNTED = 1 << 25
"""Up to this many codes, over all codebooks, are counted one by one (256 MB)."""
SLOTS = 1 << 22
"""Slots over all codebooks when there are more codes (32 MB)."""
_MIX = 0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64)
"""The multipliers of splitmix64 (Steele, Lea and Flood 2014), as int64."""


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


def count_tokens(counts: Tensor, tokens: Tokens, vocab_size: int) -> None:
    """Add tokens to counts, in place. No device sync."""
    levels = rearrange(tokens, "b q y x -> q (b y x)")
    if is_hashed(counts, vocab_size):
        levels = hash_slots(levels, counts.shape[1])
    counts.scatter_add_(1, levels, torch.ones_like(levels))


def codes_text(codes: int) -> str:
    """Return a number of codes; a large power of two is written as one, since 2^62 in full is as wide as a table."""
    return f"2^{codes.bit_length() - 1}" if codes > MAX_COUNTED and codes.bit_count() == 1 else f"{codes:,}"


def hash_slots(tokens: Tensor, slots: int) -> Tensor:
    """Return the slot of each token: the last bits of its splitmix64, which sends neighbouring codes far apart."""
    mixed = (tokens ^ (tokens >> 30)) * _MIX[0]
    mixed = (mixed ^ _shifted(mixed, 27)) * _MIX[1]
    return (mixed ^ _shifted(mixed, 31)) & (slots - 1)


def _shifted(values: Tensor, bits: int) -> Tensor:
    # A plain shift of int64 would repeat the sign bit.
    return (values >> bits) & ((1 << (64 - bits)) - 1)
