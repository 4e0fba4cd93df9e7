"""Vector quantization: a codebook, a similarity, a gradient and the losses put together."""

from typing import Annotated, Literal

import torch
from einops import rearrange
from pydantic import Field, model_validator
from torch import Tensor

from ...config import Config
from ...shapes import CodeIndices, Codes, Latent, Tokens, Vectors
from ..base import Part, Quantized, Quantizer, as_grid, as_rows, check_latent
from ..entropy import assignment_entropies
from ..gradients import GRADIENTS, GradientName, check_gradient, damp_short, length_weight, with_gradient_of
from ..search.nearest import Similarity, nearest_codes, normalise, scores
from .codebooks import Codebook, LearnedCodebook
from .distribution_losses import DISTRIBUTIONS
from .region_loss import region_loss
from .sinkhorn import SinkhornConfig, balanced_codes
from .soft_assignment import SoftAssignmentConfig, mixture


class VectorConfig(Config):
    """What all vector quantizers have in common."""

    dim: Annotated[int, Field(ge=1, le=1 << 15)]
    """Latent channels, the length of a code."""
    codebook_size: Annotated[int, Field(ge=2, le=1 << 30)]
    """Number of codes."""
    similarity: Similarity = "euclidean"
    """What nearest means: euclidean distance, cosine with latents and codes on the unit sphere, or greatest dot product."""
    squash: Literal["none", "tanh"] = "none"
    """What latents pass before they are compared: nothing, or tanh, which keeps them in (-1, 1)."""
    gradient: GradientName = "straight_through"
    """What the encoder feels: one of GRADIENTS, or soft to feel the choice of the code through the soft assignment."""
    commitment_by_length: bool = False
    """Whether the commitment of each latent is divided by min(1, (|q|/|z|)^2), for rotation with short codes."""
    distribution: Literal["wasserstein", "mmd"] | None = None
    """Loss that pulls the codes as a whole to the distribution of the latents; its term is called like it."""
    region: bool = False
    """Whether codes that no latent of a batch chose are pulled to the latents of the used code nearest them."""
    soft: SoftAssignmentConfig | None = None
    """Soft assignment, by which all codes feel the loss through the choice of the code."""
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


class VectorQuantizer(Quantizer):
    """Replace each latent vector by its nearest code, or in training, with `sinkhorn`, by one of a balanced choice.

    Losses in training mode, each a mean over latents and channels: `commitment` |z - sg q|^2, divided where asked by
    `length_weight`; `codebook` |sg z - q|^2 where the codes move by gradients; `assignment` |z - q|^2 through the soft index
    where the encoder feels it (IBQ's double quantization loss); `region`, `wasserstein`, `mmd`, `sample_entropy` and
    `codebook_entropy` where asked, the last negated, so that a positive weight spreads the latents over the codes. All are
    taken from the code itself and not from what the gradient estimator returns.

    While gradients are recorded, `diveq` and `nsvq` return a latent that is not quite the code; without, it is the code.
    """

    config: VectorConfig
    num_codebooks = 1

    def __init__(self, config: VectorConfig, codebook: Codebook):
        super().__init__()
        self.config = config
        self.returns_codes = config.gradient not in ("diveq", "nsvq")
        self.codebook = codebook
        self.dim = config.dim
        self.vocab_size = config.codebook_size
        self.held: list[tuple[Vectors, CodeIndices]] | None = None
        """What is to be noticed later, within `noticed_once`."""

    def codes(self) -> Codes:
        """Return the table `k d` as it is compared: on the unit sphere for cosine similarity."""
        return self._compared(self.codebook.codes())

    def forward(self, latent: Latent) -> Quantized:
        check_latent(latent, self.dim)
        with torch.autocast(latent.device.type, enabled=False):
            vectors = self.vectors(latent)
            codes = self.codes()
            numbers = self._choose(vectors, codes)
            chosen = codes[numbers]
            quantized = self._felt(vectors, codes, chosen) if torch.is_grad_enabled() else chosen
            losses = self._losses(vectors, codes, numbers, quantized) if self.training else {}
        self.notice(vectors, numbers)
        return Quantized(as_grid(quantized, latent), as_grid(numbers.unsqueeze(1), latent), losses)

    @torch.no_grad()
    def nearest(self, latent: Latent, codes: Codes) -> Tokens:
        """Return the tokens alone, `codes` being those of this quantizer, with no note taken of the latent."""
        check_latent(latent, self.dim)
        return as_grid(self._nearest(self.vectors(latent), codes).unsqueeze(1), latent)

    def notice(self, vectors: Vectors, numbers: CodeIndices) -> None:
        """Take note of vectors as they are compared and their codes, in a training forward that records gradients."""
        if not (self.training and torch.is_grad_enabled()):
            return
        if self.held is not None:
            self.held.append((vectors.detach(), numbers))
            return
        self.codebook.observe(vectors.detach(), numbers)

    def codes_of(self, tokens: Tokens) -> Latent:
        return codes_at(tokens, self.codes())

    def to_code_space(self, latent: Latent) -> Latent:
        check_latent(latent, self.dim)
        return as_grid(self.vectors(latent), latent)

    def parts(self, latent: Latent) -> list[Part]:
        return [Part(self, latent)]

    def token_grid(self, y: int, x: int) -> tuple[int, int]:
        return y, x

    @torch.no_grad()
    def for_inference(self) -> tuple[Config, Quantizer]:
        kept = self.config
        config = VQConfig(dim=self.dim, codebook_size=self.vocab_size, similarity=kept.similarity, squash=kept.squash)
        codes = self.codebook.codes()
        exported = config.build().eval().to(codes.device)
        assert isinstance(exported.codebook, LearnedCodebook)
        exported.codebook.table.copy_(codes)
        return config, exported

    def vectors(self, latent: Latent) -> Vectors:
        """Return the latent as rows `n d` as they are compared."""
        vectors = as_rows(latent.float())
        return self._compared(vectors.tanh() if self.config.squash == "tanh" else vectors)

    def _choose(self, vectors: Vectors, codes: Codes) -> CodeIndices:
        if self.training and self.config.sinkhorn is not None:
            return balanced_codes(vectors, codes, self._scores, self.config.sinkhorn)
        return self._nearest(vectors, codes)

    def _nearest(self, vectors: Vectors, codes: Codes) -> CodeIndices:
        # How many rows float64 has to settle is known on the host alone: a training step does not wait for that.
        is_exact = not self.training or vectors.device.type == "cpu"
        return nearest_codes(vectors, codes, self.config.similarity, exact=is_exact)

    def _compared(self, vectors: Tensor) -> Tensor:
        return normalise(damp_short(vectors), "cosine") if self.config.similarity == "cosine" else vectors

    def _felt(self, vectors: Vectors, codes: Codes, chosen: Vectors) -> Vectors:
        soft, through_choice = self.config.soft, self.config.gradient == "soft"
        felt = chosen.detach() if through_choice else GRADIENTS[self.config.gradient](vectors, chosen)
        if not (self.training or through_choice):  # the choice is all that the encoder feels there, at any time
            return with_gradient_of(chosen, felt)
        if soft is None:
            return felt
        temperature = soft.temperature_at(self.training_step)
        choosing = vectors if through_choice else vectors.detach()
        index = chosen + mixture(choosing, codes, self._scores, soft.k, soft.form, temperature)
        return felt + (index - index.detach())

    def _losses(self, vectors: Vectors, codes: Codes, numbers: CodeIndices, quantized: Vectors) -> dict[str, Tensor]:
        if not len(vectors):
            none, first = vectors.new_zeros(1, self.dim), numbers.new_zeros(1)
            return {name: loss * 0 for name, loss in self._losses(none, codes, first, codes[first]).items()}
        config, chosen = self.config, codes[numbers]
        losses = {"commitment": self._commitment(vectors, chosen.detach())}
        if self.codebook.learns_from_loss:
            losses["codebook"] = (vectors.detach() - chosen).square().mean()
        if config.gradient == "soft":
            losses["assignment"] = (vectors - quantized).square().mean()
        if config.region:
            losses["region"] = region_loss(vectors.detach(), codes, numbers)
        if config.distribution is not None:
            losses[config.distribution] = DISTRIBUTIONS[config.distribution](vectors, codes)
        if config.entropy_temperature is not None:
            entropy = assignment_entropies(vectors, codes, self._scores, config.entropy_temperature)
            losses |= {"sample_entropy": entropy.sample, "codebook_entropy": -entropy.codebook}
        return losses

    def _commitment(self, vectors: Vectors, codes: Vectors) -> Tensor:
        squared = (vectors - codes).square()
        return (squared / length_weight(vectors, codes) if self.config.commitment_by_length else squared).mean()

    def _scores(self, vectors: Tensor, codes: Tensor) -> Tensor:
        return scores(vectors, codes, self.config.similarity)


class VQConfig(VectorConfig):
    """Codes are parameters that the codebook loss pulls to their latents."""

    name: Literal["vq"] = "vq"
    """Kind of quantizer: vq."""
    initial_scale: Annotated[float, Field(gt=0)] = 1.0
    """Standard deviation of the codes at the start; far below that of the latents, most codes are never used."""

    def build(self) -> VectorQuantizer:
        return VectorQuantizer(self, LearnedCodebook(self.codebook_size, self.dim, self.initial_scale))


def codes_at(tokens: Tokens, codes: Codes) -> Latent:
    """Return the rows of a table that tokens `b 1 y x` number."""
    return rearrange(codes[tokens.squeeze(1)], "b y x d -> b d y x")
