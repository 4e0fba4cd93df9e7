"""Scalar quantization: each channel is squashed into an interval and cut into levels by itself (FSQ, FSP)."""

import math
from typing import Annotated, Literal

import torch
from annotated_types import Len
from einops import rearrange
from pydantic import Field
from torch import Tensor

from ..config import Config
from ..shapes import Latent, Tokens
from .base import Part, Quantized, Quantizer, check_latent, check_tokens
from .digits import Digits
from .gradients import with_gradient_of

MARGIN = 1e-3


class FSQConfig(Config):
    """A grid of codes: the product of a few levels in each channel. Nothing is learned, every code is reachable."""

    name: Literal["fsq"] = "fsq"
    """Kind of quantizer: fsq."""
    levels: Annotated[list[Annotated[int, Field(ge=2)]], Len(1)]
    """Number of values of each channel; the first channel is the least significant in the token."""
    bound: Literal["inner", "outer"] = "inner"
    """Published form of the bound: inner keeps latents inside the outermost levels, outer lets them pass a little."""

    def build(self) -> "FiniteScalarQuantizer":
        return FiniteScalarQuantizer(self)


class FiniteScalarQuantizer(Quantizer):
    """Bound each channel by tanh, round it to one of its levels, and scale the codes into [-1, 1] (arXiv 2309.15505).

    y = tanh(z + s) h - o with o = 1/2 for even L (0 for odd); codes are round(y) / floor(L / 2). `inner` is the paper's:
    h = (L - 1)(1 - 1e-3) / 2, s = tan(o / h). `outer` is what several public tokenizers have: h = (L - 1)(1 + 1e-3) / 2,
    s = atanh(o / h). They disagree on about one token in fifty. The gradient is straight-through after the bound. There
    are no losses.
    """

    num_codebooks = 1
    half_width: Tensor
    offset: Tensor
    shift: Tensor
    divisor: Tensor

    def __init__(self, config: FSQConfig):
        super().__init__()
        self.config = config
        levels = config.levels
        self.dim = len(levels)
        self.digits = Digits(levels)
        self.vocab_size = self.digits.count
        margin, shift = (-MARGIN, math.tan) if config.bound == "inner" else (MARGIN, math.atanh)
        half_width = [(level - 1) * (1 + margin) / 2 for level in levels]
        offset = [0.5 if level % 2 == 0 else 0.0 for level in levels]
        self._constant("half_width", half_width)
        self._constant("offset", offset)
        self._constant("shift", [shift(o / h) for o, h in zip(offset, half_width, strict=True)])
        self._constant("divisor", [float(level // 2) for level in levels])

    def forward(self, latent: Latent) -> Quantized:
        check_latent(latent, self.dim)
        with torch.autocast(latent.device.type, enabled=False):
            bounded = self._bound(latent)
            rounded = bounded.detach().round()
            tokens = self.digits.pack(rounded.long() + self.digits.levels // 2)
            quantized = with_gradient_of(rounded / self.divisor, bounded / self.divisor)
        return Quantized(quantized, tokens, {})

    def lookup(self, tokens: Tokens) -> Latent:
        check_tokens(tokens, self.num_codebooks, self.vocab_size)
        return (self.digits.unpack(tokens) - self.digits.levels // 2).float() / self.divisor

    def project(self, latent: Latent) -> Latent:
        check_latent(latent, self.dim)
        return self._bound(latent) / self.divisor

    def parts(self, latent: Latent) -> list[Part]:
        return [Part(self, latent)]

    def token_grid(self, y: int, x: int) -> tuple[int, int]:
        return y, x

    def folded(self) -> tuple[Config, Quantizer]:
        return self.config, self

    def _bound(self, latent: Latent) -> Tensor:
        return torch.tanh(latent.float() + self.shift) * self.half_width - self.offset

    def _constant(self, name: str, values: list[float]) -> None:
        self.register_buffer(name, rearrange(torch.tensor(values), "d -> d 1 1"), persistent=False)
