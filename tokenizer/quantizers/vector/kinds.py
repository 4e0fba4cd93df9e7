"""Vector quantizers that differ from plain VQ in how codes are parameterised or chosen."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..gradients import GradientName
from ..search.nearest import Similarity
from .codebooks import LearnedCodebook, MovingAverageCodebook
from .config import VectorConfig
from .projections import BridgeProjection, DiagonalProjection, LinearProjection, MLPProjection, ProjectedCodebook
from .quantizer import VectorQuantizer
from .soft_assignment import SoftAssignmentConfig

PROJECTIONS = {"linear": LinearProjection, "diagonal": DiagonalProjection, "mlp": MLPProjection}


class EMAConfig(VectorConfig):
    """Codes are moving averages of their latents (appendix A.1 of arXiv 1711.00937); the codebook needs no loss."""

    name: Literal["ema"] = "ema"
    """Kind of quantizer: ema."""
    initial_scale: Annotated[float, Field(gt=0)] = 1.0
    """Standard deviation of the codes at the start."""
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Fraction of the old average that a forward keeps."""

    @model_validator(mode="after")
    def _nothing_needs_gradients(self) -> "EMAConfig":
        wanted = {
            f"gradient: {self.gradient}": self.gradient in ("diveq", "nsvq", "soft"),
            "distribution": self.distribution is not None,
            "region": self.region,
            "soft": self.soft is not None,
        }
        for name, asked in wanted.items():
            if asked:
                raise ValueError(f"{name} moves codes by gradients, but those of ema are averages: use vq or simvq.")
        return self

    def build(self) -> VectorQuantizer:
        codebook = MovingAverageCodebook(self.codebook_size, self.dim, self.initial_scale, self.decay)
        return VectorQuantizer(self, codebook)


class SimVQConfig(VectorConfig):
    """Codes are a random basis times one learned matrix; exported as a plain table (arXiv 2411.02038)."""

    name: Literal["simvq"] = "simvq"
    """Kind of quantizer: simvq."""
    projection: Literal["linear", "diagonal", "mlp"] = "linear"
    """The learned map: a matrix, a factor for each channel, or two matrices with a GELU between."""
    bias: bool = True
    """Whether the projection has a bias, as in the authors' code."""
    trained_basis: bool = False
    """Whether the basis is trained too, or stays as it was drawn."""

    def build(self) -> VectorQuantizer:
        projection = PROJECTIONS[self.projection](self.dim, self.bias)
        return VectorQuantizer(self, ProjectedCodebook(self.codebook_size, self.dim, projection, self.trained_basis))


class FVQConfig(VectorConfig):
    """Codes are a learned table behind a small transformer, the bridge; exported as a plain table (arXiv 2509.10140)."""

    name: Literal["fvq"] = "fvq"
    """Kind of quantizer: fvq."""
    patch: Annotated[int, Field(ge=1, le=1 << 15)] = 16
    """Codes that make one token of the bridge; must divide codebook_size."""
    width: Annotated[int, Field(ge=4, le=1 << 15, multiple_of=4)] = 256
    """Channels of the bridge."""

    @model_validator(mode="after")
    def _patches_fit(self) -> "FVQConfig":
        if self.codebook_size % self.patch:
            raise ValueError(f"codebook_size is {self.codebook_size}, but must be a multiple of patch, {self.patch}.")
        return self

    def build(self) -> VectorQuantizer:
        bridge = BridgeProjection(self.dim, self.patch, self.width)
        return VectorQuantizer(self, ProjectedCodebook(self.codebook_size, self.dim, bridge, trained_basis=True))


class IBQConfig(VectorConfig):
    """Index back-propagation: latents and all codes learn through the softmax over dot products (arXiv 2412.02692)."""

    allowed_in = frozenset({"grouped"})  # by dot product the chosen code does not leave least over

    name: Literal["ibq"] = "ibq"
    """Kind of quantizer: ibq."""
    similarity: Similarity = "dot"
    """What nearest means; the paper takes the max dot product."""
    gradient: GradientName = "soft"
    """Gradient of the encoder; the paper's goes through the choice of the code."""
    soft: SoftAssignmentConfig | None = SoftAssignmentConfig()
    """Soft assignment; the paper takes the softmax at temperature 1."""
    entropy_temperature: Annotated[float, Field(gt=0)] | None = 0.01
    """Temperature of the entropy terms; null leaves them out."""
    initial_scale: Annotated[float, Field(gt=0)] = 1.0
    """Standard deviation of the codes at the start."""

    def build(self) -> VectorQuantizer:
        return VectorQuantizer(self, LearnedCodebook(self.codebook_size, self.dim, self.initial_scale))
