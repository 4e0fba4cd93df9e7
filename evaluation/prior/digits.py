"""A token of many codes as several digits, predicted one after another."""

import math
from collections.abc import Sequence

from ...tokenizer.quantizers.base import Quantizer
from ...tokenizer.quantizers.scalar.digits import DigitQuantizer
from .recipe import MAX_DIGIT, MAX_WHOLE


def radices_of(codebook: Quantizer) -> tuple[int, ...]:
    """Return the values of each digit of a codebook's tokens, the most significant first: those of `radices`.

    The levels of a scalar quantizer stay whole, so that a digit has the values of some of its channels.
    """
    levels = codebook.levels.flatten().tolist() if isinstance(codebook, DigitQuantizer) else None
    return radices(codebook.vocab_size, levels)


def radices(vocab_size: int, levels: Sequence[int] | None = None) -> tuple[int, ...]:
    """Return how many values each digit of a token has, the most significant first: one digit up to MAX_WHOLE codes.

    With more codes, a token is as few digits of at most MAX_DIGIT values as there can be, the largest of them as small as
    possible. They are products of neighbouring `levels`, the least significant first, or else powers of two. Their product
    is then at least `vocab_size`, and combinations beyond the last code do not occur.
    """
    if vocab_size <= MAX_WHOLE:
        return (vocab_size,)
    parts = list(levels or [])
    if math.prod(parts) != vocab_size or max(parts) > MAX_DIGIT:
        parts = [2] * (vocab_size - 1).bit_length()
    count = len(_grouped(parts, MAX_DIGIT))
    products = {math.prod(parts[first:last]) for last in range(len(parts) + 1) for first in range(last)}
    caps = sorted(product for product in products if max(parts) <= product <= MAX_DIGIT)
    least_first = next(groups for cap in caps if len(groups := _grouped(parts, cap)) == count)
    top = -(-vocab_size // math.prod(least_first[:-1]))
    return (top, *reversed(least_first[:-1]))


def _grouped(parts: Sequence[int], cap: int) -> list[int]:
    """Return the products of neighbouring parts, each as many as stay within `cap`."""
    groups = [1]
    for part in parts:
        if groups[-1] * part > cap:
            groups.append(1)
        groups[-1] *= part
    return groups
