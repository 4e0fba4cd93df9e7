"""The Leech lattice as a fixed codebook: codes spread evenly on the sphere of 24 dimensions (arXiv 2512.14697)."""

from typing import Literal

from ...shapes import Latent, Tokens
from ..base import Quantized, QuantizerConfig
from ..gradients import GRADIENTS
from ..layout import as_grid, as_rows
from ..observation import Observation
from ..scale import on_unit_sphere
from ..single import FixedQuantizer
from .leech_vectors import DIM, LeechVectors


class LeechConfig(QuantizerConfig):
    """The 196,560 shortest vectors of the Leech lattice, 17.6 bits per token. Nothing is learned."""

    allowed_in = frozenset({"grouped"})

    name: Literal["leech"] = "leech"
    """Kind of quantizer: leech."""
    gradient: Literal["straight_through", "rotation", "rotation_tangent", "reflection", "dynamic_straight_through"] = (
        "straight_through"
    )
    """Gradient estimator, after the latent is put onto the sphere."""

    def build(self) -> "LeechQuantizer":
        return LeechQuantizer(self)


class LeechQuantizer(FixedQuantizer):
    """Put the latent onto the unit sphere of 24 dimensions and replace it by the nearest of 196,560 points.

    They are the shortest vectors of the Leech lattice, scaled to length 1: no two are nearer than 60 degrees, and no 196,561
    points on the sphere can be. They are not stored but computed (`LeechVectors`). There are no losses: codes so even need
    no entropy term, and the sphere bounds the latent. Its length is lost, so scale the code again behind it, for instance
    by a linear map. As |q| = |z| = 1, `rotation` does not rescale.
    """

    config: LeechConfig

    def __init__(self, config: LeechConfig):
        super().__init__()
        self.config = config
        self.dim = DIM
        self.lattice = LeechVectors()
        self.vocab_size = self.lattice.count

    def quantize(self, latent: Latent) -> tuple[Quantized, list[Observation]]:
        points = as_rows(self.to_code_space(latent))
        indices = self.lattice.nearest(points)
        quantized = GRADIENTS[self.config.gradient](points, self.lattice.codes(indices))
        return Quantized(as_grid(quantized, latent), as_grid(indices.unsqueeze(1), latent), {}), []

    def codes_of(self, tokens: Tokens) -> Latent:
        return as_grid(self.lattice.codes(tokens.flatten()), tokens)

    def to_code_space(self, latent: Latent) -> Latent:
        return on_unit_sphere(latent.float(), dim=1)
