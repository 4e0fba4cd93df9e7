"""The Leech lattice as a fixed codebook: codes spread evenly on the sphere of 24 dimensions (arXiv 2512.14697)."""

import copy
from typing import Literal

import torch
from einops import rearrange

from ...config import Config
from ...shapes import Latent, Tokens
from ..base import Part, Quantized, Quantizer, as_grid, as_rows, check_latent
from ..gradients import GRADIENTS, damp_short
from ..scale import on_unit_sphere
from .leech_vectors import DIM, LeechVectors


class LeechConfig(Config):
    """The 196,560 shortest vectors of the Leech lattice, 17.6 bits a token. Nothing is learned."""

    name: Literal["leech"] = "leech"
    """Kind of quantizer: leech."""
    gradient: Literal["straight_through", "rotation", "rotation_tangent", "reflection", "dynamic_straight_through"] = (
        "straight_through"
    )
    """What the encoder feels, after the latent is put onto the sphere."""

    @property
    def dim(self) -> int:
        """Latent channels."""
        return DIM

    def build(self, level: int = 0) -> "LeechQuantizer":
        assert level == 0  # the residual quantizer refuses it
        return LeechQuantizer(self)


class LeechQuantizer(Quantizer):
    """Put the latent onto the unit sphere of 24 dimensions and replace it by the nearest of 196,560 points.

    They are the shortest vectors of the Leech lattice, scaled to length 1: no two are nearer than 60 degrees, and no 196,561
    points on the sphere can be. No table of them exists (`LeechVectors`). There are no losses: codes so even need no entropy
    term, and on the sphere there is nothing for a commitment to hold (spherical Leech quantization, arXiv 2512.14697). Length
    is lost: scale the code again behind it, as a linear map does. As |q| = |z| = 1, `rotation` does not rescale.
    """

    config: LeechConfig
    num_codebooks = 1

    def __init__(self, config: LeechConfig):
        super().__init__()
        self.config = config
        self.dim = DIM
        self.lattice = LeechVectors()
        self.vocab_size = self.lattice.count

    def forward(self, latent: Latent) -> Quantized:
        with torch.autocast(latent.device.type, enabled=False):
            points = as_rows(self.to_code_space(latent))
            numbers = self.lattice.nearest(points)
            codes = self.lattice.codes(numbers)
            quantized = GRADIENTS[self.config.gradient](points, codes)
        return Quantized(as_grid(quantized, latent), as_grid(numbers.unsqueeze(1), latent), {})

    def codes_of(self, tokens: Tokens) -> Latent:
        b, _, y, x = tokens.shape
        return rearrange(self.lattice.codes(tokens.flatten()), "(b y x) d -> b d y x", b=b, y=y, x=x)

    def to_code_space(self, latent: Latent) -> Latent:
        check_latent(latent, self.dim)
        return on_unit_sphere(damp_short(latent.float(), dim=1), dim=1)

    def parts(self, latent: Latent) -> list[Part]:
        return [Part(self, latent)]

    def token_grid(self, y: int, x: int) -> tuple[int, int]:
        return y, x

    def for_inference(self) -> tuple[Config, Quantizer]:
        return self.config, copy.deepcopy(self).eval()
