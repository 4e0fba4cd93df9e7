"""Finite scalar perturbation: in training, noise of a bin's width stands in for rounding (FSP)."""

import math
from typing import Literal

import torch
from torch import Tensor

from ...shapes import Latent
from ..base import Quantized, Quantizer, with_gradient_of
from ..observation import Observation
from .digits import DigitQuantizer, Levels, RefinableConfig, ScalarRefinement

VARIANCES = {"normal": 1.0, "logistic": math.pi**2 / 12}
"""Variance of the distribution whose cumulative distribution function squashes a channel."""


class FSPConfig(RefinableConfig):
    """Each channel is squashed into (0, 1) by a distribution function and cut into bins of equal width."""

    name: Literal["fsp"] = "fsp"
    """Kind of quantizer: fsp."""
    levels: Levels
    """Number of bins of each channel; the first channel is the least significant in the token."""
    squash: Literal["normal", "logistic"] = "normal"
    """Distribution function: that of N(0, 1), or (1 + tanh z) / 2."""

    def build_level(self, level: int) -> Quantizer:
        if level == 0:
            return FiniteScalarPerturbation(self)
        return ScalarRefinement(self, self.levels, [2 / count for count in self.levels], level, noisy=True)


class FiniteScalarPerturbation(DigitQuantizer):
    """Squash each channel by a distribution function u = F(z); a code is the middle of one of L bins, scaled into [-1, 1].

    In training mode with gradients, the decoder sees 2 (u + U(-1/2, 1/2) / L) - 1 instead of the code. Nothing is rounded,
    so every gradient is exact (arXiv 2602.17133); tokens are those of u. The authors' code scales codes to variance 1 and
    drops noise that would pass 0 or 1. Here codes have the range of FSQ, and the outermost bins have the same noise as the
    others, as their rounding error is the same. The loss `moments` is the mean over channels of m^2 + (v - v_F)^2: at the
    mean and variance of F, u fills the bins evenly.
    """

    config: FSPConfig
    loss_names = ("moments",)
    is_bounded = True
    returns_codes = False

    def __init__(self, config: FSPConfig):
        super().__init__(config, config.levels)

    def quantize(self, latent: Latent) -> tuple[Quantized, list[Observation]]:
        filled = self._squash(latent)
        digits = self.as_digits(filled.detach() * self.levels)
        if self.training and torch.is_grad_enabled():
            noise = (torch.rand_like(filled) - 0.5) / self.levels
            quantized = 2 * (filled + noise) - 1
        else:
            quantized = with_gradient_of(self.codes_from(digits), 2 * filled - 1)
        losses = {"moments": self._moments(latent)} if self.training else {}
        return Quantized(quantized, self.tokens_from(digits), losses), []

    def to_code_space(self, latent: Latent) -> Latent:
        return 2 * self._squash(latent.float()) - 1

    def _squash(self, latent: Latent) -> Tensor:
        return torch.special.ndtr(latent) if self.config.squash == "normal" else (1 + torch.tanh(latent)) / 2

    def codes_from(self, digits: Tensor) -> Latent:
        return (2 * digits + 1).float() / self.levels - 1

    def _moments(self, latent: Latent) -> Tensor:
        if not latent.numel():
            return latent.sum()
        variance, mean = torch.var_mean(latent, dim=(0, 2, 3), correction=0)
        return (mean.square() + (variance - VARIANCES[self.config.squash]).square()).mean()
