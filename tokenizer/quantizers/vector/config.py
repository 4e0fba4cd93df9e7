"""Keys of all vector quantizers."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ..base import QuantizerConfig
from ..gradients import GradientName, check_gradient
from ..search.nearest import Similarity
from .sinkhorn import SinkhornConfig
from .soft_assignment import SoftAssignmentConfig


class VectorConfig(QuantizerConfig):
    """Keys of all vector quantizers."""

    allowed_in = frozenset({"residual", "grouped", "multiscale"})
    behind_tanh: ClassVar[dict[str, str]] = {"squash": "tanh"}

    dim: Annotated[int, Field(ge=1, le=1 << 15)]
    """Latent channels, the length of a code."""
    codebook_size: Annotated[int, Field(ge=2, le=1 << 30)]
    """Number of codes."""
    similarity: Similarity = "euclidean"
    """What nearest means: euclidean distance, cosine with latents and codes on the unit sphere, or max dot product."""
    squash: Literal["none", "tanh"] = "none"
    """What latents pass before they are compared: nothing, or tanh, which keeps them in (-1, 1)."""
    gradient: GradientName = "straight_through"
    """Gradient of the encoder: one of GRADIENTS, or soft, which goes through the soft assignment."""
    commitment_by_length: bool = False
    """Whether the commitment of each latent is divided by min(1, (|q|/|z|)^2), for rotation with short codes."""
    distribution: Literal["wasserstein", "mmd"] | None = None
    """Loss, of the same name, that pulls the codes as a whole to the distribution of the latents."""
    region: bool = False
    """Whether codes that no latent of a batch chose are pulled to the latents of the used code nearest them."""
    soft: SoftAssignmentConfig | None = None
    """Soft assignment, which gives every code a gradient through the choice of the code."""
    entropy_temperature: Annotated[float, Field(gt=0)] | None = None
    """Adds the terms sample_entropy and codebook_entropy of the assignment at this temperature, which IBQ sets to 0.01."""
    sinkhorn: SinkhornConfig | None = None
    """Balanced choice of the codes of a training batch, so that all are used; outside training the nearest is chosen."""

    @model_validator(mode="after")
    def _fits_together(self) -> "VectorConfig":
        check_gradient(self.gradient, self.dim)
        if self.gradient == "soft" and self.soft is None:
            raise ValueError("gradient is 'soft', but soft is not set: add soft: {temperature: ...}.")
        if self.soft is not None and self.soft.k >= self.codebook_size:
            raise ValueError(f"soft.k is {self.soft.k}, but must be below codebook_size, {self.codebook_size}.")
        if self.soft is not None and self.gradient in ("diveq", "nsvq"):
            raise ValueError(
                f"gradient is {self.gradient!r}, which moves the chosen code as soft does, so it would move twice: use "
                "straight_through, or no soft."
            )
        return self
