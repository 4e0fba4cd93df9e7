"""Tokens of scalar quantizers: one digit per channel, packed as a number in a mixed radix."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from einops import rearrange
from torch import Tensor, nn

from ...shapes import Latent, Tokens
from ..base import QuantizerConfig
from ..single import FixedQuantizer


def per_channel(values: Sequence[float]) -> Tensor:
    """Return one float32 value per channel, `d 1 1`, to be broadcast over a latent."""
    return rearrange(torch.tensor(values, dtype=torch.float32), "d -> d 1 1")


class Digits(nn.Module):
    """Number the combinations of `levels`, the first channel being the least significant.

    All is integer: packed in float32, tokens above 2 ** 24 would be wrong. Raises ValueError when an int64 cannot hold them.
    """

    levels: Tensor
    """`d 1 1`."""
    weights: Tensor
    """Product of the levels of the channels before, `d 1 1`."""

    def __init__(self, levels: list[int]):
        super().__init__()
        self.count = math.prod(levels)
        if self.count >= 2**63:
            raise ValueError(f"levels make {self.count} codes, but a token is an int64: give fewer or smaller levels.")
        weights = [math.prod(levels[:channel]) for channel in range(len(levels))]
        self.register_buffer("levels", rearrange(torch.tensor(levels), "d -> d 1 1"), persistent=False)
        self.register_buffer("weights", rearrange(torch.tensor(weights), "d -> d 1 1"), persistent=False)

    def nearest(self, digits: Tensor) -> Tensor:
        """Return digits `b d y x` as integers, clamped into [0, level) whatever the values; NaN becomes 0."""
        highest = self.levels - 1
        # Twice, since above 2 ** 24 the highest digit may round up when it is converted to float.
        return digits.nan_to_num(nan=0.0).clamp_min(0).minimum(highest.to(digits.dtype)).long().minimum(highest)

    def pack(self, digits: Tensor) -> Tokens:
        """Return the tokens `b 1 y x` of digits `b d y x`, each in [0, level)."""
        return (digits * self.weights).sum(dim=1, keepdim=True)

    def unpack(self, tokens: Tokens) -> Tensor:
        """Return the digits `b d y x` of tokens `b 1 y x`."""
        return tokens // self.weights % self.levels


class DigitQuantizer(FixedQuantizer):
    """A quantizer whose tokens are one digit per channel."""

    def __init__(self, config: QuantizerConfig, levels: list[int]):
        super().__init__()
        self.config = config
        self.dim = len(levels)
        self.digits = Digits(levels)
        self.vocab_size = self.digits.count

    @abstractmethod
    def codes_from(self, digits: Tensor) -> Latent:
        """Return the codes of digits `b d y x`."""

    @final
    def codes_of(self, tokens: Tokens) -> Latent:
        return self.codes_from(self.digits.unpack(tokens))
