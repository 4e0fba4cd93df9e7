"""Vector quantization: a codebook, a similarity and a gradient put together."""

from typing import Annotated, Literal

import torch
from einops import rearrange
from pydantic import Field

from ..config import Config
from ..shapes import Codes, Latent, Tokens, Vectors
from .base import Quantized, Quantizer, check_latent, check_tokens
from .codebooks import Codebook, LearnedCodebook, MovingAverageCodebook, ProjectedCodebook
from .gradients import rotation, straight_through
from .nearest import Similarity, nearest_codes, normalise

GRADIENTS = {"straight_through": straight_through, "rotation": rotation}
GradientName = Literal["straight_through", "rotation"]


class VectorConfig(Config):
    """What all vector quantizers have in common."""

    dim: Annotated[int, Field(ge=1)]
    """Latent channels, the length of a code."""
    codebook_size: Annotated[int, Field(ge=2)]
    """Number of codes."""
    similarity: Similarity = "euclidean"
    """What nearest means: euclidean distance, or cosine with latents and codes on the unit sphere."""
    gradient: GradientName = "straight_through"
    """What the encoder feels: straight_through or rotation."""


class VectorQuantizer(Quantizer):
    """Replace each latent vector by its nearest code.

    Losses: `codebook` mean |sg z - q|^2 (where the codebook learns from it), `commitment` mean |z - sg q|^2, both from
    the code itself and not from what the gradient estimator returns.
    """

    num_codebooks = 1

    def __init__(self, config: VectorConfig, codebook: Codebook):
        super().__init__()
        self.config = config
        self.codebook = codebook
        self.dim = config.dim
        self.vocab_size = config.codebook_size

    def codes(self) -> Codes:
        """Return the table `k d` as it is compared: on the unit sphere for cosine similarity."""
        return normalise(self.codebook.codes(), self.config.similarity)

    def forward(self, latent: Latent) -> Quantized:
        check_latent(latent, self.dim)
        with torch.autocast(latent.device.type, enabled=False):
            vectors = self._vectors(latent)
            codes = self.codes()
            numbers = nearest_codes(vectors, codes)
            chosen = codes[numbers]
            losses = {"commitment": (vectors - chosen.detach()).square().mean()}
            if self.codebook.learns_from_loss:
                losses["codebook"] = (vectors.detach() - chosen).square().mean()
            if self.training and torch.is_grad_enabled():
                self.codebook.observe(vectors.detach(), numbers)
            quantized = GRADIENTS[self.config.gradient](vectors, chosen)
        grid = {"b": latent.shape[0], "y": latent.shape[2]}
        return Quantized(
            latent=rearrange(quantized, "(b y x) d -> b d y x", **grid),
            tokens=rearrange(numbers, "(b y x) -> b 1 y x", **grid),
            losses=losses,
        )

    def lookup(self, tokens: Tokens) -> Latent:
        check_tokens(tokens, self.num_codebooks, self.vocab_size)
        return rearrange(self.codes()[tokens.squeeze(1)], "b y x d -> b d y x")

    def project(self, latent: Latent) -> Latent:
        check_latent(latent, self.dim)
        return rearrange(self._vectors(latent), "(b y x) d -> b d y x", b=latent.shape[0], y=latent.shape[2])

    @torch.no_grad()
    def folded(self) -> tuple[Config, Quantizer]:
        config = VQConfig(dim=self.dim, codebook_size=self.vocab_size, similarity=self.config.similarity)
        codebook = LearnedCodebook(self.vocab_size, self.dim, scale=1.0)
        codebook.table.copy_(self.codebook.codes())
        return config, VectorQuantizer(config, codebook).eval()

    def _vectors(self, latent: Latent) -> Vectors:
        return normalise(rearrange(latent.float(), "b d y x -> (b y x) d"), self.config.similarity)


class VQConfig(VectorConfig):
    """Codes are parameters that the codebook loss pulls to their latents."""

    name: Literal["vq"] = "vq"
    """Kind of quantizer: vq."""
    initial_scale: Annotated[float, Field(gt=0)] = 1.0
    """Standard deviation of the codes at the start; far below that of the latents, most codes are never used."""

    def build(self) -> VectorQuantizer:
        return VectorQuantizer(self, LearnedCodebook(self.codebook_size, self.dim, self.initial_scale))


class EMAConfig(VectorConfig):
    """Codes are moving averages of their latents; the only loss is the commitment."""

    name: Literal["ema"] = "ema"
    """Kind of quantizer: ema."""
    initial_scale: Annotated[float, Field(gt=0)] = 1.0
    """Standard deviation of the codes at the start."""
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Share of the old average that a forward keeps."""

    def build(self) -> VectorQuantizer:
        return VectorQuantizer(
            self, MovingAverageCodebook(self.codebook_size, self.dim, self.initial_scale, self.decay)
        )


class SimVQConfig(VectorConfig):
    """Codes are a frozen random basis times one learned matrix; exported as a plain table."""

    name: Literal["simvq"] = "simvq"
    """Kind of quantizer: simvq."""
    bias: bool = True
    """Whether the projection has a bias, as in the authors' code."""

    def build(self) -> VectorQuantizer:
        return VectorQuantizer(self, ProjectedCodebook(self.codebook_size, self.dim, self.bias))
