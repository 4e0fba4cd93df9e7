"""Grouped (product) quantization: the channels are split, and each group has a quantizer."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor, nn

from ...config import Choice
from ...shapes import Latent, Tokens
from ..base import Quantized, Quantizer, QuantizerConfig
from ..observation import Observation
from .inner import AllowedIn, quantizers_of

GROUPS = AllowedIn("grouped", "quantize a group of channels")
MAX_GROUPS = 64


class GroupedConfig(QuantizerConfig):
    """Groups of channels, the tokens of a position being the codes of all groups."""

    name: Literal["grouped"] = "grouped"
    """Kind of quantizer: grouped."""
    quantizer: Annotated[QuantizerConfig, Choice(GROUPS.entries), BeforeValidator(GROUPS.check)]
    """Quantizer of every group; its dim is that of one group."""
    groups: Annotated[int, Field(ge=1, le=MAX_GROUPS)]
    """Number of groups: the latent has groups times the quantizer's channels."""
    shared: bool = False
    """Whether all groups have the same codebook."""

    def build(self) -> "GroupedQuantizer":
        return GroupedQuantizer(self, [self.quantizer.build() for _ in range(1 if self.shared else self.groups)])


class GroupedQuantizer(Quantizer):
    """Quantize each group of channels by itself: product quantization (https://doi.org/10.1109/TPAMI.2010.57).

    With the quantizer inside it is also GSQ (arXiv 2412.02632) or group-wise LFQ. Tokens lie group after group along `q`.
    Losses are the means over the groups.
    """

    config: GroupedConfig

    def __init__(self, config: GroupedConfig, quantizers: Sequence[Quantizer]):
        super().__init__()
        self.config = config
        self.quantizers = nn.ModuleList(quantizers)
        first = quantizers[0]
        self.dim = first.dim * config.groups
        self.vocab_size = first.vocab_size
        self.num_codebooks = first.num_codebooks * config.groups
        self.loss_names = first.loss_names
        self.is_bounded = first.is_bounded
        self.returns_codes = first.returns_codes

    def quantize(self, latent: Latent) -> tuple[Quantized, list[Observation]]:
        pairs = [quantizer.quantize(part) for quantizer, part in self._pairs(latent)]
        results = [result for result, _ in pairs]
        quantized = Quantized(
            latent=torch.cat([result.latent for result in results], dim=1),
            tokens=torch.cat([result.tokens for result in results], dim=1),
            losses={
                name: torch.stack([result.losses[name] for result in results]).mean() for name in results[0].losses
            },
        )
        return quantized, [observation for _, seen in pairs for observation in seen]

    def codes_of(self, tokens: Tokens) -> Latent:
        return torch.cat([quantizer.codes_of(part) for quantizer, part in self._pairs(tokens)], dim=1)

    def to_code_space(self, latent: Latent) -> Latent:
        return torch.cat([quantizer.to_code_space(part) for quantizer, part in self._pairs(latent)], dim=1)

    def codebooks(self) -> list[Quantizer]:
        return [codebook for quantizer in self._groups() for codebook in quantizer.codebooks()]

    def codebook_inputs(self, latent: Latent) -> list[Tensor]:
        return [seen for quantizer, part in self._pairs(latent) for seen in quantizer.codebook_inputs(part)]

    def token_grid(self, y: int, x: int) -> tuple[int, int]:
        return y, x

    @torch.no_grad()
    def for_inference(self) -> tuple[QuantizerConfig, Quantizer]:
        exported = [quantizer.for_inference() for quantizer in quantizers_of(self.quantizers)]
        config = self.config.model_copy(update={"quantizer": exported[0][0]})
        return config, GroupedQuantizer(config, [quantizer for _, quantizer in exported]).eval()

    def _groups(self) -> list[Quantizer]:
        return quantizers_of(self.quantizers) * (self.config.groups if self.config.shared else 1)

    def _pairs(self, values: Tensor) -> list[tuple[Quantizer, Tensor]]:
        """Pair each group's quantizer with its channels, or its tokens."""
        return list(zip(self._groups(), values.chunk(self.config.groups, dim=1), strict=True))
