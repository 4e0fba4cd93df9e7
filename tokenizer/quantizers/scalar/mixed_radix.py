"""Tokens of scalar quantizers: one digit per channel, packed as a number in a mixed radix."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from einops import rearrange
from torch import Tensor

from ...shapes import Latent, Tokens
from ..base import QuantizerConfig
from ..single import FixedQuantizer


class DigitQuantizer(FixedQuantizer):
    """A quantizer whose tokens number the combinations of one digit per channel, the first being the least significant.

    All is integer: packed in float32, tokens above 2 ** 24 would be wrong. Raises ValueError when an int64 cannot hold them.
    """

    levels: Tensor
    """`d 1 1`."""
    weights: Tensor
    """Product of the levels of the channels before, `d 1 1`."""

    def __init__(self, config: QuantizerConfig, levels: list[int]):
        super().__init__()
        self.config = config
        self.dim = len(levels)
        self.vocab_size = math.prod(levels)
        if self.vocab_size >= 2**63:
            raise ValueError(
                f"levels make {self.vocab_size} codes, but a token is an int64: give fewer or smaller levels."
            )
        weights = [math.prod(levels[:channel]) for channel in range(len(levels))]
        self.register_buffer("levels", per_channel(levels, torch.int64), persistent=False)
        self.register_buffer("weights", per_channel(weights, torch.int64), persistent=False)

    @abstractmethod
    def codes_from(self, digits: Tensor) -> Latent:
        """Return the codes of digits `b d y x`."""

    @final
    def codes_of(self, tokens: Tokens) -> Latent:
        return self.codes_from(tokens // self.weights % self.levels)

    @final
    def as_digits(self, values: Tensor) -> Tensor:
        """Return values `b d y x` as integers, clamped into [0, level) whatever they are; NaN becomes 0."""
        highest = self.levels - 1
        # Twice, since above 2 ** 24 the highest digit may round up when it is converted to float.
        return values.nan_to_num(nan=0.0).clamp_min(0).minimum(highest.to(values.dtype)).long().minimum(highest)

    @final
    def tokens_from(self, digits: Tensor) -> Tokens:
        """Return the tokens `b 1 y x` of digits `b d y x`, each in [0, level)."""
        return (digits * self.weights).sum(dim=1, keepdim=True)


def per_channel(values: Sequence[float] | Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """Return one value per channel, `d 1 1`, to be broadcast over a latent."""
    return rearrange(torch.tensor(values, dtype=dtype), "d -> d 1 1")
