"""Tokens of scalar quantizers: one digit for each channel, numbered in a mixed base."""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from ...shapes import Tokens


class Constant(nn.Module):
    """A float32 value for each channel, `d 1 1`: it moves with its module, and is never rounded to the type of the weights."""

    bits: Tensor

    def __init__(self, values: list[float]):
        super().__init__()
        # As integers, which .bfloat16() leaves as they are.
        bits = torch.tensor(values, dtype=torch.float32).view(torch.int32)
        self.register_buffer("bits", rearrange(bits, "d -> d 1 1"), persistent=False)

    def forward(self) -> Tensor:
        return self.bits.view(torch.float32)


class Digits(nn.Module):
    """Numbers the combinations of `levels`, the first channel being the least significant.

    Integers throughout: packed in float32, tokens are wrong above 2 ** 24. Raises ValueError when an int64 cannot number them.
    """

    levels: Tensor
    """`d 1 1`."""
    place: Tensor
    """What a digit of each channel counts, `d 1 1`."""

    def __init__(self, levels: list[int]):
        super().__init__()
        self.count = math.prod(levels)
        if self.count >= 2**63:
            raise ValueError(f"levels make {self.count} codes, but a token is an int64: give fewer or smaller levels.")
        place = [math.prod(levels[:index]) for index in range(len(levels))]
        self.register_buffer("levels", rearrange(torch.tensor(levels), "d -> d 1 1"), persistent=False)
        self.register_buffer("place", rearrange(torch.tensor(place), "d -> d 1 1"), persistent=False)

    def nearest(self, digits: Tensor) -> Tensor:
        """Return whole digits `b d y x` for real ones, cut off: into [0, level) whatever the values, 0 for NaN."""
        highest = self.levels - 1
        # Twice, since above 2 ** 24 the highest digit may be rounded up on its way to the type of the others.
        return digits.nan_to_num(nan=0.0).clamp_min(0).minimum(highest.to(digits.dtype)).long().minimum(highest)

    def pack(self, digits: Tensor) -> Tokens:
        """Return the tokens `b 1 y x` of digits `b d y x`, each in [0, level)."""
        return (digits * self.place).sum(dim=1, keepdim=True)

    def unpack(self, tokens: Tokens) -> Tensor:
        """Return the digits `b d y x` of tokens `b 1 y x`."""
        return tokens // self.place % self.levels
