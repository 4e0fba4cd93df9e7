"""Later levels of a residual scalar quantizer: the last cell cut into equal ones."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from ...shapes import Latent
from ..base import Quantized, Quantizer, QuantizerConfig, with_gradient_of
from ..observation import Observation
from .mixed_radix import DigitQuantizer, per_channel


class RefinableConfig(QuantizerConfig):
    """Config of codes on a fixed grid, which every level of a residual quantizer makes finer."""

    allowed_in = frozenset({"residual", "grouped"})

    @abstractmethod
    def build_level(self, level: int) -> Quantizer:
        """Build the quantizer of residual level `level`, from 0."""

    @final
    def build(self) -> Quantizer:
        return self.build_level(0)


class ScalarRefinement(DigitQuantizer):
    """Quantize what `level` scalar quantizers left over: each channel of the last cell is cut into L equal cells, unbounded.

    With s the distance of two codes of the first level, a latent within s L^(1 - level) / 2 of 0 becomes one of
    (k - (L - 1) / 2) s L^-level, so each level divides the maximum error by L (residual FSQ of
    https://github.com/lucidrains/vector-quantize-pytorch, which has a bound of its own). `noisy` ones add
    U(-1/2, 1/2) cells instead, in training mode with gradients, as FSP does.
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
