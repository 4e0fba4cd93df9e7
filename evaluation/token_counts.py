"""How often each code occurs: one by one, or in the slots of a hash where the codes are too many for that."""

import torch
from einops import rearrange
from torch import Tensor

from ..tokenizer.shapes import Tokens

MAX_COUNTED = 1 << 25
"""Codes of all codebooks together that are counted one by one (256 MB)."""
SLOTS = 1 << 22
"""Slots of all codebooks together when the codes are more (32 MB)."""
_MIX = 0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64)
"""The multipliers of splitmix64 (Steele, Lea and Flood 2014), as int64."""


def empty_counts(num_codebooks: int, vocab_size: int, device: torch.device | str = "cpu") -> Tensor:
    """Return counts of no token, int64: `q k`, or `q m` with m < k slots, a power of two, when the codes are too many."""
    width = vocab_size
    if num_codebooks * vocab_size > MAX_COUNTED:
        width = SLOTS >> (num_codebooks - 1).bit_length()
    return torch.zeros(num_codebooks, width, dtype=torch.int64, device=device)


def estimate_note(counts: Tensor, vocab_size: int) -> str:
    """Return a sentence that says that usage is an estimate; empty when every code was counted."""
    if not is_hashed(counts, vocab_size):
        return ""
    return (
        f"Usage and perplexity are estimated from {counts.shape[1]:,} slots of a hash: {vocab_size:,} codes are too many to "
        "count one by one."
    )


def is_hashed(counts: Tensor, vocab_size: int) -> bool:
    """Return whether counts are those of slots, so that usage is an estimate."""
    return counts.shape[1] < vocab_size


def count_tokens(counts: Tensor, tokens: Tokens, vocab_size: int) -> None:
    """Add tokens to counts, in place; the device is not waited for."""
    levels = rearrange(tokens, "b q y x -> q (b y x)")
    if is_hashed(counts, vocab_size):
        levels = hash_slots(levels, counts.shape[1])
    counts.scatter_add_(1, levels, torch.ones_like(levels))


def hash_slots(tokens: Tensor, slots: int) -> Tensor:
    """Return the slot of each token: the last bits of splitmix64 of it, so that neighbouring codes lie far apart."""
    mixed = (tokens ^ (tokens >> 30)) * _MIX[0]
    mixed = (mixed ^ _shifted(mixed, 27)) * _MIX[1]
    return (mixed ^ _shifted(mixed, 31)) & (slots - 1)


def _shifted(values: Tensor, bits: int) -> Tensor:
    # int64 has a sign that a plain shift would drag along.
    return (values >> bits) & ((1 << (64 - bits)) - 1)
