"""Finite scalar quantization: each channel is bounded and rounded by itself (FSQ, arXiv 2309.15505)."""

import math
from typing import Annotated, Literal

import torch
from annotated_types import Len
from einops import rearrange
from pydantic import Field
from torch import Tensor

from ..config import Config
from ..shapes import Latent, Tokens
from .base import Quantized, Quantizer, check_latent, check_tokens
from .gradients import with_gradient_of

MARGIN = 1e-3


class FSQConfig(Config):
    """A grid of codes: the product of a few levels in each channel. Nothing is learned, every code is reachable."""

    name: Literal["fsq"] = "fsq"
    """Kind of quantizer: fsq."""
    levels: Annotated[list[Annotated[int, Field(ge=2)]], Len(1)]
    """Number of values of each channel; the first channel is the least significant in the token."""

    def build(self) -> "FiniteScalarQuantizer":
        return FiniteScalarQuantizer(self)


class FiniteScalarQuantizer(Quantizer):
    """Bound each channel by tanh, round it to one of its levels, and scale the codes into [-1, 1].

    The bound is the paper's: y = tanh(z + s) (L - 1)(1 - eps) / 2 - o with eps = 1e-3, o = 1/2 for even L (0 for odd)
    and s = tan(o / ((L - 1)(1 - eps) / 2)); codes are round(y) / floor(L / 2). The gradient is straight-through after
    the bound. There are no losses.
    """

    num_codebooks = 1
    half_width: Tensor
    offset: Tensor
    shift: Tensor
    divisor: Tensor
    basis: Tensor
    sizes: Tensor

    def __init__(self, config: FSQConfig):
        super().__init__()
        self.config = config
        levels = config.levels
        self.dim = len(levels)
        self.vocab_size = math.prod(levels)
        if self.vocab_size >= 2**63:
            raise ValueError(
                f"levels make {self.vocab_size} codes, but a token is an int64: give fewer or smaller levels."
            )
        half_width = [(level - 1) * (1 - MARGIN) / 2 for level in levels]
        offset = [0.5 if level % 2 == 0 else 0.0 for level in levels]
        self._constant("half_width", half_width)
        self._constant("offset", offset)
        self._constant("shift", [math.tan(o / h) for o, h in zip(offset, half_width, strict=True)])
        self._constant("divisor", [float(level // 2) for level in levels])
        # Integers from here on: packed in float32, tokens are wrong above 2 ** 24.
        self._constant("sizes", levels)
        self._constant("basis", [math.prod(levels[:index]) for index in range(len(levels))])

    def forward(self, latent: Latent) -> Quantized:
        check_latent(latent, self.dim)
        with torch.autocast(latent.device.type, enabled=False):
            bounded = self._bound(latent)
            rounded = bounded.detach().round()
            digits = rounded.long() + self.sizes // 2
            tokens = (digits * self.basis).sum(dim=1, keepdim=True)
            quantized = with_gradient_of(rounded / self.divisor, bounded / self.divisor)
        return Quantized(quantized, tokens, {})

    def lookup(self, tokens: Tokens) -> Latent:
        check_tokens(tokens, self.num_codebooks, self.vocab_size)
        digits = tokens // self.basis % self.sizes
        return (digits - self.sizes // 2).float() / self.divisor

    def project(self, latent: Latent) -> Latent:
        check_latent(latent, self.dim)
        return self._bound(latent) / self.divisor

    def folded(self) -> tuple[Config, Quantizer]:
        return self.config, self

    def _bound(self, latent: Latent) -> Tensor:
        return torch.tanh(latent.float() + self.shift) * self.half_width - self.offset

    def _constant(self, name: str, values: list[float] | list[int]) -> None:
        self.register_buffer(name, rearrange(torch.tensor(values), "d -> d 1 1"), persistent=False)
