"""Scalar quantization without rounding in training: noise of the width of a bin stands in for it (FSP)."""

import copy
import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from ...config import Config
from ...shapes import Latent, Tokens
from ..base import Part, Quantized, Quantizer, check_latent
from ..gradients import with_gradient_of
from .fsq import ScalarRefinement
from .mixed_radix import Digits

VARIANCES = {"normal": 1.0, "logistic": math.pi**2 / 12}
"""Variance of the distributions whose functions squash a channel."""


class FSPConfig(Config):
    """Each channel is squashed into (0, 1) by a distribution function and cut into bins of equal width."""

    name: Literal["fsp"] = "fsp"
    """Kind of quantizer: fsp."""
    levels: Annotated[list[Annotated[int, Field(ge=2, le=1 << 30)]], Field(min_length=1, max_length=62)]
    """Number of bins of each channel; the first channel is the least significant in the token."""
    squash: Literal["normal", "logistic"] = "normal"
    """Distribution function: that of N(0, 1), or (1 + tanh z) / 2."""

    @property
    def dim(self) -> int:
        """Latent channels."""
        return len(self.levels)

    def build(self, level: int = 0) -> "FiniteScalarPerturbation | ScalarRefinement":
        if level == 0:
            return FiniteScalarPerturbation(self)
        return ScalarRefinement(self, self.levels, [2 / count for count in self.levels], level, noisy=True)


class FiniteScalarPerturbation(Quantizer):
    """Squash each channel by a distribution function u = F(z); a code is the middle of one of L bins, scaled into [-1, 1].

    In training mode, while gradients are recorded, the decoder sees 2 (u + U(-1/2, 1/2) / L) - 1 instead of the code, so
    nothing is rounded and every gradient is exact (finite scalar perturbation, arXiv 2602.17133); tokens are those of u.
    The authors' code scales codes to variance 1, and leaves out noise that would pass 0 or 1. Here codes have the range of
    FSQ, and the outermost bins the same noise as the others: the error there is that of rounding too. The loss `moments`
    keeps each channel at the mean and variance of F, at which u fills the bins evenly: mean over channels of
    m^2 + (v - v_F)^2.
    """

    config: FSPConfig
    num_codebooks = 1
    returns_codes = False

    def __init__(self, config: FSPConfig):
        super().__init__()
        self.config = config
        self.dim = len(config.levels)
        self.digits = Digits(config.levels)
        self.vocab_size = self.digits.count

    def forward(self, latent: Latent) -> Quantized:
        check_latent(latent, self.dim)
        with torch.autocast(latent.device.type, enabled=False):
            filled = self._squash(latent)
            levels = self.digits.levels
            digits = self.digits.nearest(filled.detach() * levels)
            if self.training and torch.is_grad_enabled():
                noise = (torch.rand_like(filled) - 0.5) / levels
                quantized = 2 * (filled + noise) - 1
            else:
                quantized = with_gradient_of(self._codes(digits), 2 * filled - 1)
            losses = {"moments": self._moments(latent.float())} if self.training else {}
        return Quantized(quantized, self.digits.pack(digits), losses)

    def codes_of(self, tokens: Tokens) -> Latent:
        return self._codes(self.digits.unpack(tokens))

    def to_code_space(self, latent: Latent) -> Latent:
        check_latent(latent, self.dim)
        return 2 * self._squash(latent) - 1

    def parts(self, latent: Latent) -> list[Part]:
        return [Part(self, latent)]

    def token_grid(self, y: int, x: int) -> tuple[int, int]:
        return y, x

    def for_inference(self) -> tuple[Config, Quantizer]:
        return self.config, copy.deepcopy(self).eval()

    def _squash(self, latent: Latent) -> Tensor:
        if self.config.squash == "normal":
            return torch.special.ndtr(latent.float())
        return (1 + torch.tanh(latent.float())) / 2

    def _codes(self, digits: Tensor) -> Latent:
        return (2 * digits + 1).float() / self.digits.levels - 1

    def _moments(self, latent: Latent) -> Tensor:
        if not latent.numel():
            return latent.sum()
        variance, mean = torch.var_mean(latent, dim=(0, 2, 3), correction=0)
        return (mean.square() + (variance - VARIANCES[self.config.squash]).square()).mean()
