"""What scalar quantizers share: tokens of one digit per channel, and levels that refine what others leave over."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, TypeAlias, final

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor

from ...shapes import Latent, Tokens
from ..base import Quantized, Quantizer, QuantizerConfig, with_gradient_of
from ..observation import Observation
from ..single import FixedQuantizer

MAX_CHANNELS = 62
"""Channels of two levels that an int64 can number."""

Levels: TypeAlias = Annotated[
    list[Annotated[int, Field(ge=2, le=1 << 30)]], Field(min_length=1, max_length=MAX_CHANNELS)
]


class RefinableConfig(QuantizerConfig):
    """Config of codes on a fixed grid, which every level of a residual quantizer makes finer."""

    allowed_in = frozenset({"residual", "grouped"})

    @abstractmethod
    def build_level(self, level: int) -> Quantizer:
        """Build the quantizer of residual level `level`, from 0."""

    @final
    def build(self) -> Quantizer:
        return self.build_level(0)


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


class ScalarRefinement(DigitQuantizer):
    """Quantize what `level` scalar quantizers left over: each channel of the last cell is cut into L equal cells, unbounded.

    Let s be the distance between two codes of the first level. A latent within s L^(1 - level) / 2 of 0 becomes one of
    (k - (L - 1) / 2) s L^-level, so each level divides the maximum error by L. This is residual FSQ, as in
    https://github.com/lucidrains/vector-quantize-pytorch except for its bound. If `noisy`, training forwards with gradients
    add U(-1/2, 1/2) cells instead of rounding, as FSP does.
    """

    step: Tensor
    middle: Tensor

    def __init__(
        self, config: QuantizerConfig, levels: list[int], first_steps: Sequence[float], level: int, noisy: bool
    ):
        super().__init__(config, levels)
        steps = [step / count**level for step, count in zip(first_steps, levels, strict=True)]
        self.register_buffer("step", per_channel(steps), persistent=False)
        self.register_buffer("middle", per_channel([(count - 1) / 2 for count in levels]), persistent=False)
        self.noisy = noisy
        self.returns_codes = not noisy

    def quantize(self, latent: Latent) -> tuple[Quantized, list[Observation]]:
        point = self.to_code_space(latent)
        digits = self.as_digits((point.detach() / self.step + self.middle).round())
        if self.noisy and self.training and torch.is_grad_enabled():
            quantized = point + (torch.rand_like(point) - 0.5) * self.step
        else:
            quantized = with_gradient_of(self.codes_from(digits), point)
        return Quantized(quantized, self.tokens_from(digits), {}), []

    def to_code_space(self, latent: Latent) -> Latent:
        return latent.float()

    def codes_from(self, digits: Tensor) -> Latent:
        return (digits - self.middle) * self.step


def per_channel(values: Sequence[float] | Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """Return one value per channel, `d 1 1`, to be broadcast over a latent."""
    return rearrange(torch.tensor(values, dtype=dtype), "d -> d 1 1")
