"""Scalar quantization: each channel is squashed into an interval and cut into levels by itself (FSQ, FSP)."""

import copy
import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from ...config import Config
from ...shapes import Latent, Tokens
from ..base import Part, Quantized, Quantizer, check_latent
from ..gradients import with_gradient_of
from .mixed_radix import Constant, Digits

MARGIN = 1e-3
IFSQ_SLOPE = 0.8
"""2 sigmoid(1.6 z) - 1 = tanh(0.8 z)."""
BOUNDS: dict[str, tuple[float, Callable[[float], float], float]] = {
    "inner": (-MARGIN, math.tan, 1.0),
    "outer": (MARGIN, math.atanh, 1.0),
    "ifsq": (0.0, lambda _: 0.0, IFSQ_SLOPE),
}
"""Margin of h, shift as a function of o / h, and slope of each bound."""


class FSQConfig(Config):
    """A grid of codes: the product of a few levels in each channel. Nothing is learned, every code is reachable."""

    name: Literal["fsq"] = "fsq"
    """Kind of quantizer: fsq."""
    levels: Annotated[list[Annotated[int, Field(ge=2, le=1 << 30)]], Field(min_length=1, max_length=62)]
    """Number of values of each channel; the first channel is the least significant in the token."""
    bound: Literal["inner", "outer", "ifsq"] = "inner"
    """Published form of the bound: inner (tanh, inside the outermost levels), outer (tanh, a little past them) or ifsq (a
    sigmoid that makes normal latents nearly uniform)."""

    @property
    def dim(self) -> int:
        """Latent channels."""
        return len(self.levels)

    def build(self, level: int = 0) -> "FiniteScalarQuantizer | ScalarRefinement":
        if level == 0:
            return FiniteScalarQuantizer(self)
        return ScalarRefinement(self, self.levels, [1 / (count // 2) for count in self.levels], level, noisy=False)


class FiniteScalarQuantizer(Quantizer):
    """Bound each channel, round it to one of its levels, and scale the codes into [-1, 1] (arXiv 2309.15505).

    y = tanh(z + s) h - o, with o = 1/2 for even L (0 for odd); codes are round(y) / floor(L / 2). `inner` is the paper's:
    h = (L - 1)(1 - 1e-3) / 2, s = tan(o / h). `outer` is what several public tokenizers have: h = (L - 1)(1 + 1e-3) / 2,
    s = atanh(o / h). They disagree on about one token in fifty. `ifsq` (arXiv 2601.17124) has y = (2 sigmoid(1.6 z) - 1) h - o
    with h = (L - 1) / 2 and no shift: for z ~ N(0, 1) the bounded value is nearly uniform, so the inner levels are used alike,
    but the two outermost have half their width and get half or less. The authors' code takes odd L alone; here an even L has
    the same bins, with z = 0 between the two in the middle. The gradient is straight-through after the bound. There are
    no losses.
    """

    num_codebooks = 1

    def __init__(self, config: FSQConfig):
        super().__init__()
        self.config = config
        levels = config.levels
        self.dim = len(levels)
        self.digits = Digits(levels)
        self.vocab_size = self.digits.count
        margin, shift, self.slope = BOUNDS[config.bound]
        half_width = [(level - 1) * (1 + margin) / 2 for level in levels]
        offset = [0.5 if level % 2 == 0 else 0.0 for level in levels]
        self.half_width = Constant(half_width)
        self.offset = Constant(offset)
        self.shift = Constant([shift(o / h) for o, h in zip(offset, half_width, strict=True)])
        self.divisor = Constant([float(level // 2) for level in levels])

    def forward(self, latent: Latent) -> Quantized:
        check_latent(latent, self.dim)
        with torch.autocast(latent.device.type, enabled=False):
            bounded = self._bound(latent)
            digits = self.digits.nearest(bounded.detach().round() + self.digits.levels // 2)
            quantized = with_gradient_of(self._codes(digits), bounded / self.divisor())
        return Quantized(quantized, self.digits.pack(digits), {})

    def codes_of(self, tokens: Tokens) -> Latent:
        return self._codes(self.digits.unpack(tokens))

    def to_code_space(self, latent: Latent) -> Latent:
        check_latent(latent, self.dim)
        return self._bound(latent) / self.divisor()

    def parts(self, latent: Latent) -> list[Part]:
        return [Part(self, latent)]

    def token_grid(self, y: int, x: int) -> tuple[int, int]:
        return y, x

    def for_inference(self) -> tuple[Config, Quantizer]:
        return self.config, copy.deepcopy(self).eval()

    def _bound(self, latent: Latent) -> Tensor:
        return torch.tanh(self.slope * latent.float() + self.shift()) * self.half_width() - self.offset()

    def _codes(self, digits: Tensor) -> Latent:
        return (digits - self.digits.levels // 2).float() / self.divisor()


class ScalarRefinement(Quantizer):
    """Cut what `level` scalar quantizers left over: each channel of the last cell into L equal ones, nothing bounded.

    With s the distance of two codes of the first level, a latent within s L^(1 - level) / 2 of 0 is replaced by one of
    (k - (L - 1) / 2) s L^-level, so each level divides the greatest error by L (residual FSQ as in
    vector-quantize-pytorch, there with a bound of its own). `noisy` ones add U(-1/2, 1/2) cells instead in training mode
    while gradients are recorded, as FSP does.
    """

    num_codebooks = 1

    def __init__(self, config: Config, levels: list[int], steps: list[float], level: int, noisy: bool):
        super().__init__()
        self.config = config
        self.dim = len(levels)
        self.digits = Digits(levels)
        self.vocab_size = self.digits.count
        self.step = Constant([step / count**level for step, count in zip(steps, levels, strict=True)])
        self.middle = Constant([(count - 1) / 2 for count in levels])
        self.noisy = noisy
        self.returns_codes = not noisy

    def forward(self, latent: Latent) -> Quantized:
        point = self.to_code_space(latent)
        digits = self.digits.nearest((point.detach() / self.step() + self.middle()).round())
        if self.noisy and self.training and torch.is_grad_enabled():
            quantized = point + (torch.rand_like(point) - 0.5) * self.step()
        else:
            quantized = with_gradient_of(self._codes(digits), point)
        return Quantized(quantized, self.digits.pack(digits), {})

    def codes_of(self, tokens: Tokens) -> Latent:
        return self._codes(self.digits.unpack(tokens))

    def to_code_space(self, latent: Latent) -> Latent:
        check_latent(latent, self.dim)
        return latent.float()

    def parts(self, latent: Latent) -> list[Part]:
        return [Part(self, latent)]

    def token_grid(self, y: int, x: int) -> tuple[int, int]:
        return y, x

    def for_inference(self) -> tuple[Config, Quantizer]:
        return self.config, copy.deepcopy(self).eval()

    def _codes(self, digits: Tensor) -> Latent:
        return (digits - self.middle()) * self.step()
