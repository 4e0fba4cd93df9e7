"""Gumbel-softmax quantization: a linear classifier chooses the code, with noise while it trains."""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...shapes import CodeIndices, Latent, Tokens, Vectors
from ..base import Quantized, Quantizer, QuantizerConfig
from ..entropy import chunks
from ..layout import as_grid, as_rows
from ..observation import Observation
from ..search.nearest import nearest_codes
from ..single import SingleQuantizer
from .quantizer import codes_at
from .soft_assignment import annealed


class GumbelConfig(QuantizerConfig):
    """A linear classifier chooses the code, by the straight-through Gumbel softmax (arXiv 1611.01144), as in DALL-E's dVAE."""

    allowed_in = frozenset({"grouped"})

    name: Literal["gumbel"] = "gumbel"
    """Kind of quantizer: gumbel."""
    dim: Annotated[int, Field(ge=1, le=1 << 15)]
    """Latent channels, the length of a code."""
    codebook_size: Annotated[int, Field(ge=2, le=1 << 30)]
    """Number of codes."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Temperature of the softmax at the start."""
    final_temperature: Annotated[float, Field(gt=0)] | None = None
    """Temperature after anneal_steps, reached geometrically; none keeps the first. DALL-E takes 1/16."""
    anneal_steps: Annotated[int, Field(ge=1)] = 1000
    """Training steps over which the temperature changes; DALL-E takes 150,000."""

    def build(self) -> "GumbelQuantizer":
        return GumbelQuantizer(self)


class GumbelQuantizer(SingleQuantizer):
    """Replace each latent vector z by the code of the highest logit l = W z + b, in training by that of l + Gumbel noise.

    Samples so follow softmax(l). The gradient goes through y = softmax((l + noise) / temperature) in place of the choice, to
    latents and classifier; the chosen code alone gets that of the value. Outside training there is no noise, and the choice
    is exact. The loss `kl` is KL(softmax(l) || uniform) = log k - H, in nats, a mean over latents: a small weight spreads the
    latents over the codes (arXiv 2102.12092).
    """

    config: GumbelConfig
    loss_names = ("kl",)

    def __init__(self, config: GumbelConfig):
        super().__init__()
        self.config = config
        self.dim = config.dim
        self.vocab_size = config.codebook_size
        self.classifier = nn.Linear(config.dim, config.codebook_size)
        self.table = nn.Parameter(torch.randn(config.codebook_size, config.dim))

    def quantize(self, latent: Latent) -> tuple[Quantized, list[Observation]]:
        vectors = as_rows(latent.float())
        if not (self.training or torch.is_grad_enabled()):
            return self._quantized(latent, self._likeliest(vectors), None, {}), []
        parts = [
            # The backward pass draws the same noise again, so that noise and weights of all codes are never held.
            checkpoint(self._sample, rows, use_reentrant=False, preserve_rng_state=self.training)
            for rows in chunks(vectors, self.table)
        ]
        indices, mixed, divergence = (torch.cat(values) for values in zip(*parts, strict=True))
        if not self.training:
            return self._quantized(latent, self._likeliest(vectors), mixed, {}), []
        losses = {"kl": divergence.sum() / max(1, len(vectors))}
        return self._quantized(latent, indices, mixed, losses), []

    def codes_of(self, tokens: Tokens) -> Latent:
        return codes_at(tokens, self.table)

    def to_code_space(self, latent: Latent) -> Latent:
        return latent.float()

    def for_inference(self) -> tuple[QuantizerConfig, Quantizer]:
        config = GumbelConfig(dim=self.dim, codebook_size=self.vocab_size)
        exported = config.build().eval().to(self.table.device)
        exported.load_state_dict(self.state_dict())
        return config, exported

    def _quantized(
        self, latent: Latent, indices: CodeIndices, mixed: Vectors | None, losses: dict[str, Tensor]
    ) -> Quantized:
        """Return the codes at `indices`, with the gradient of the mixtures `n d` of all codes, if given."""
        codes = self.table[indices]
        if mixed is not None:
            codes = codes + (mixed - mixed.detach())  # exactly the codes
        return Quantized(as_grid(codes, latent), as_grid(indices.unsqueeze(1), latent), losses)

    @torch.no_grad()
    def _likeliest(self, vectors: Vectors) -> CodeIndices:
        # W z + b is the dot product of (W b) and (z 1), so the search for the max dot product is exact here too.
        points = torch.cat([vectors, vectors.new_ones(vectors.shape[0], 1)], dim=1)
        return nearest_codes(
            points, torch.cat([self.classifier.weight, self.classifier.bias.unsqueeze(1)], dim=1), "dot"
        )

    def _sample(self, vectors: Vectors) -> tuple[CodeIndices, Vectors, Tensor]:
        """Return the chosen code of each vector, the mixture of all codes, and the divergence from uniform ` n`."""
        logits = self.classifier(vectors)
        logs = logits.log_softmax(dim=1)
        divergence = (logs.exp() * (logs + math.log(self.vocab_size))).sum(dim=1)
        if self.training:
            tiny = torch.finfo(logits.dtype).tiny
            logits = logits - torch.empty_like(logits).exponential_().clamp_min(tiny).log()
        weights = (logits / self._temperature()).softmax(dim=1)
        return logits.argmax(dim=1), weights @ self.table.detach(), divergence

    def _temperature(self) -> float:
        config = self.config
        return annealed(config.temperature, config.final_temperature, self.training_step / config.anneal_steps)
