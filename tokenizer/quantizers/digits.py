"""Tokens of scalar quantizers: one digit for each channel, numbered in a mixed base."""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from ..shapes import Tokens


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

    def pack(self, digits: Tensor) -> Tokens:
        """Return the tokens `b 1 y x` of digits `b d y x`, each in [0, level)."""
        return (digits * self.place).sum(dim=1, keepdim=True)

    def unpack(self, tokens: Tokens) -> Tensor:
        """Return the digits `b d y x` of tokens `b 1 y x`."""
        return tokens // self.place % self.levels
