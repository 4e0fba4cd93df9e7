"""Finite scalar quantization: each channel is bounded and rounded by itself (FSQ)."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ...shapes import Latent
from ..base import Quantized, Quantizer, with_gradient_of
from ..observation import Observation
from .digits import DigitQuantizer, Levels, RefinableConfig, ScalarRefinement, per_channel

MARGIN = 1e-3

BOUNDS: dict[str, tuple[float, Callable[[float], float], float]] = {
    "inner": (-MARGIN, math.tan, 1.0),
    "outer": (MARGIN, math.atanh, 1.0),
    "ifsq": (0.0, lambda _: 0.0, 0.8),  # 2 sigmoid(1.6 z) - 1 = tanh(0.8 z)
}
"""Relative excess of h over (L - 1) / 2, the shift s as a function of o / h, and the slope of tanh."""


class FSQConfig(RefinableConfig):
    """A grid of codes: the product of a few levels per channel. Nothing is learned, every code is reachable."""

    name: Literal["fsq"] = "fsq"
    """Kind of quantizer: fsq."""
    levels: Levels
    """Number of values of each channel; the first channel is the least significant in the token."""
    bound: Literal["inner", "outer", "ifsq"] = "inner"
    """Published form of the bound: inner (tanh, inside the outermost levels), outer (tanh, a little past them) or ifsq (a
    sigmoid that makes normal latents nearly uniform)."""

    def build_level(self, level: int) -> Quantizer:
        if level == 0:
            return FiniteScalarQuantizer(self)
        return ScalarRefinement(self, self.levels, [1 / (count // 2) for count in self.levels], level, noisy=False)


class FiniteScalarQuantizer(DigitQuantizer):
    """Bound each channel, round it to one of its levels, and scale the codes into [-1, 1] (arXiv 2309.15505).

    y = tanh(z + s) h - o, with o = 1/2 for even L (0 for odd); codes are round(y) / floor(L / 2). `inner` is the paper's:
    h = (L - 1)(1 - 1e-3) / 2, s = tan(o / h). `outer` is that of several public tokenizers: h = (L - 1)(1 + 1e-3) / 2,
    s = atanh(o / h). They disagree on about one token in fifty. `ifsq` (arXiv 2601.17124) has y = (2 sigmoid(1.6 z) - 1) h - o
    with h = (L - 1) / 2 and no shift. For z ~ N(0, 1) the bounded value is nearly uniform: inner levels are used evenly, but
    the two outermost have half their width and get half or less. The authors' code takes odd L only; here an even L has the
    same bins, with z = 0 between the two in the middle. The gradient is straight-through after the bound.
    """

    is_bounded = True
    half_width: Tensor
    offset: Tensor
    shift: Tensor
    divisor: Tensor

    def __init__(self, config: FSQConfig):
        super().__init__(config, config.levels)
        margin, shift, self.slope = BOUNDS[config.bound]
        half_width = [(level - 1) * (1 + margin) / 2 for level in config.levels]
        offset = [0.5 if level % 2 == 0 else 0.0 for level in config.levels]
        constants = {
            "half_width": half_width,
            "offset": offset,
            "shift": [shift(o / h) for o, h in zip(offset, half_width, strict=True)],
            "divisor": [float(level // 2) for level in config.levels],
        }
        for name, values in constants.items():
            self.register_buffer(name, per_channel(values), persistent=False)

    def quantize(self, latent: Latent) -> tuple[Quantized, list[Observation]]:
        bounded = self._bound(latent)
        digits = self.as_digits(bounded.detach().round() + self.levels // 2)
        quantized = with_gradient_of(self.codes_from(digits), bounded / self.divisor)
        return Quantized(quantized, self.tokens_from(digits), {}), []

    def to_code_space(self, latent: Latent) -> Latent:
        return self._bound(latent.float()) / self.divisor

    def _bound(self, latent: Latent) -> Tensor:
        return torch.tanh(self.slope * latent + self.shift) * self.half_width - self.offset

    def codes_from(self, digits: Tensor) -> Latent:
        return (digits - self.levels // 2).float() / self.divisor
