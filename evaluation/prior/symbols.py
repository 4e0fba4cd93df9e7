"""Tokens as one sequence of symbols: positions in raster order, at each its codebooks in turn, of each token its digits."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from ...tokenizer.quantizers.base import Quantizer
from .digits import radices_of


class Symbols(NamedTuple):
    """The symbols of an image."""

    values: Tensor
    """`n`, int64: the slots of the first position, then those of the next."""
    columns: int
    """Positions in a row of the grid."""


class Slot(NamedTuple):
    """One of the symbols of a position."""

    size: int
    """Values that it has."""
    offset: int
    """First row of its values in a table of all slots."""
    weight: int
    """What its value is multiplied by in the token."""
    last: int
    """Its value in the last code of the codebook."""
    begins: bool
    """Whether it is the first digit of a token."""


class Alphabet:
    """The slots of a position, for codebooks of `vocab_size` codes whose digits have the values of `radices`."""

    def __init__(self, vocab_size: int, radices: Sequence[Sequence[int]]):
        self.vocab_size = vocab_size
        self.radices = [tuple(each) for each in radices]
        self.slots: list[Slot] = []
        offset = 0
        for digits in self.radices:
            for index, size in enumerate(digits):
                weight = math.prod(digits[index + 1 :])
                self.slots.append(Slot(size, offset, weight, (vocab_size - 1) // weight % size, index == 0))
                offset += size
        self.size = offset
        """Values of all slots."""
        self.has_gaps = any(math.prod(digits) > vocab_size for digits in self.radices)
        """Whether some combinations of digits are no code."""

    @classmethod
    def of(cls, quantizer: Quantizer) -> "Alphabet":
        """Return the alphabet of a quantizer's tokens."""
        return cls(quantizer.vocab_size, [radices_of(codebook) for codebook in quantizer.codebooks()])

    def symbols(self, tokens: Tensor) -> Symbols:
        """Return the symbols of the tokens `q y x` of an image."""
        levels = rearrange(tokens, "q y x -> q (y x)").long()
        parts = []
        codebook = -1
        for slot in self.slots:
            codebook += slot.begins
            parts.append(levels[codebook] // slot.weight % slot.size)
        return Symbols(torch.stack(parts, dim=1).flatten(), tokens.shape[2])

    def last_values(self, targets: Tensor) -> Tensor:
        """Return the highest value that each symbol `b p s` may have after the digits before it, if the token is a code."""
        lasts, tight = [], torch.ones_like(targets[..., 0], dtype=torch.bool)
        for index, slot in enumerate(self.slots):
            if slot.begins:
                tight = torch.ones_like(tight)
            lasts.append(torch.where(tight, slot.last, slot.size - 1))
            tight = tight & (targets[..., index] == slot.last)
        return torch.stack(lasts, dim=2)
