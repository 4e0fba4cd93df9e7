"""Vector quantization: a codebook, a similarity, a gradient and losses put together."""

from typing import Annotated, Literal

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor

from ...shapes import CodeIndices, Codes, Latent, Tokens, Vectors
from ..base import Quantized, Quantizer, QuantizerConfig, with_gradient_of
from ..gradients import GRADIENTS
from ..layout import as_grid, as_rows
from ..observation import Observation
from ..scale import on_unit_sphere
from ..search.nearest import nearest_codes, scores
from ..single import SingleQuantizer
from .codebooks import Codebook, LearnedCodebook
from .config import VectorConfig
from .losses import loss_names, vector_losses
from .sinkhorn import balanced_codes
from .soft_assignment import mixture


class VectorQuantizer(SingleQuantizer):
    """Replace each latent vector by its nearest code, or in training, with `sinkhorn`, by one of a balanced choice.

    Losses: `commitment` |z - sg q|^2, divided by `length_weight` if the config asks for it; `codebook` |sg z - q|^2 if the
    codes move by gradients; `assignment` |z - q|^2 through the soft index for gradient soft (IBQ's double quantization
    loss); `region`, `wasserstein`, `mmd`, `sample_entropy` and `codebook_entropy` if asked for. The last is negated, so
    that a positive weight spreads the latents over the codes. All but `assignment` use the code itself, not what the
    gradient estimator returns. With gradients, `diveq` and `nsvq` return a latent that is not quite the code.
    """

    config: VectorConfig

    def __init__(self, config: VectorConfig, codebook: Codebook):
        super().__init__()
        self.config = config
        self.is_bounded = config.squash == "tanh" and config.similarity != "cosine"
        self.returns_codes = config.gradient not in ("diveq", "nsvq")
        self.codebook = codebook
        self.dim = config.dim
        self.vocab_size = config.codebook_size
        self.loss_names = loss_names(config, codebook.learns_from_loss)

    def codes(self) -> Codes:
        """Return the table `k d` as it is compared: on the unit sphere for cosine similarity."""
        return self._compared(self.codebook.codes())

    def quantize(self, latent: Latent) -> tuple[Quantized, list[Observation]]:
        vectors = self.vectors(latent)
        codes = self.codes()
        sinkhorn = self.config.sinkhorn if self.training else None
        indices = balanced_codes(vectors, codes, self._scores, sinkhorn) if sinkhorn else self._nearest(vectors, codes)
        chosen = codes[indices]
        quantized = self._with_gradient(vectors, codes, chosen) if torch.is_grad_enabled() else chosen
        losses = {}
        if self.training:
            losses = vector_losses(self.config, self.codebook.learns_from_loss, vectors, codes, indices, quantized)
        result = Quantized(as_grid(quantized, latent), as_grid(indices.unsqueeze(1), latent), losses)
        return result, [Observation(self.codebook.observe, vectors, indices)]

    @torch.no_grad()
    def nearest(self, latent: Latent, codes: Codes) -> Tokens:
        """Return the tokens alone, `codes` being those of this quantizer."""
        return as_grid(self._nearest(self.vectors(latent), codes).unsqueeze(1), latent)

    def codes_of(self, tokens: Tokens) -> Latent:
        return codes_at(tokens, self.codes())

    def to_code_space(self, latent: Latent) -> Latent:
        return as_grid(self.vectors(latent), latent)

    @torch.no_grad()
    def for_inference(self) -> tuple[QuantizerConfig, Quantizer]:
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

    def _nearest(self, vectors: Vectors, codes: Codes) -> CodeIndices:
        # Without kernels for the device an exact search waits for it, which a training step must not do.
        return nearest_codes(vectors, codes, self.config.similarity, exact=not self.training)

    def _compared(self, vectors: Tensor) -> Tensor:
        return on_unit_sphere(vectors) if self.config.similarity == "cosine" else vectors

    def _with_gradient(self, vectors: Vectors, codes: Codes, chosen: Vectors) -> Vectors:
        """Return the chosen codes (with noise for diveq and nsvq) with the gradients of the estimator and of the choice."""
        soft, is_soft = self.config.soft, self.config.gradient == "soft"
        estimate = chosen.detach() if is_soft else GRADIENTS[self.config.gradient](vectors, chosen)
        if not (self.training or is_soft):  # with soft, the choice is the encoder's only gradient, in training or not
            return with_gradient_of(chosen, estimate)
        if soft is None:
            return estimate
        temperature = soft.temperature_at(self.training_step)
        choosing = vectors if is_soft else vectors.detach()
        index = chosen + mixture(choosing, codes, self._scores, soft.k, temperature)
        return estimate + (index - index.detach())

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
    """Return the codes of tokens `b 1 y x` from a table."""
    return rearrange(codes[tokens.squeeze(1)], "b y x d -> b d y x")
