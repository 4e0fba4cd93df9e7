"""Grouped (product) quantization: the channels are split, and each group has a quantizer of its own."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from ...config import Config, choice
from ...shapes import Latent, Tokens
from ..base import Part, Quantized, Quantizer, check_latent
from ..table import ELEMENTARY, ElementaryConfig
from .deferred_updates import noticed_once
from .residual import ResidualConfig

MAX_GROUPS = 64
GROUPABLE = {**ELEMENTARY, "residual": ResidualConfig}


class GroupedConfig(Config):
    """Groups of channels, the tokens of a position being the codes of all groups."""

    name: Literal["grouped"] = "grouped"
    """Kind of quantizer: grouped."""
    quantizer: Annotated[ElementaryConfig | ResidualConfig, choice(GROUPABLE)]
    """Quantizer of every group; its dim is that of one group."""
    groups: Annotated[int, Field(ge=1, le=MAX_GROUPS)]
    """Number of groups: the latent has groups times the quantizer's channels."""
    shared: bool = False
    """Whether all groups have the same codebook."""

    def build(self) -> "GroupedQuantizer":
        return GroupedQuantizer(self, [self.quantizer.build() for _ in range(1 if self.shared else self.groups)])


class GroupedQuantizer(Quantizer):
    """Quantize each group of channels by itself: product quantization, GSQ and group-wise LFQ, by the quantizer inside.

    Tokens lie group after group along `q`. Losses are the means of the groups'. A codebook that groups
    share moves once a forward.
    """

    config: GroupedConfig

    def __init__(self, config: GroupedConfig, quantizers: Sequence[Quantizer]):
        super().__init__()
        self.config = config
        self.quantizers = nn.ModuleList(quantizers)
        self.dim = quantizers[0].dim * config.groups
        self.vocab_size = quantizers[0].vocab_size
        self.num_codebooks = quantizers[0].num_codebooks * config.groups
        self.returns_codes = quantizers[0].returns_codes

    def forward(self, latent: Latent) -> Quantized:
        check_latent(latent, self.dim)
        with noticed_once(self):
            results = [quantizer(part) for quantizer, part in self._pairs(latent)]
        return Quantized(
            latent=torch.cat([result.latent for result in results], dim=1),
            tokens=torch.cat([result.tokens for result in results], dim=1),
            losses={
                name: torch.stack([result.losses[name] for result in results]).mean() for name in results[0].losses
            },
        )

    def codes_of(self, tokens: Tokens) -> Latent:
        return torch.cat([quantizer.codes_of(part) for quantizer, part in self._pairs(tokens)], dim=1)

    def to_code_space(self, latent: Latent) -> Latent:
        check_latent(latent, self.dim)
        return torch.cat([quantizer.to_code_space(part) for quantizer, part in self._pairs(latent)], dim=1)

    def parts(self, latent: Latent) -> list[Part]:
        return [part for quantizer, group in self._pairs(latent) for part in quantizer.parts(group)]

    def token_grid(self, y: int, x: int) -> tuple[int, int]:
        return y, x

    @torch.no_grad()
    def for_inference(self) -> tuple[Config, Quantizer]:
        exported = [quantizer.for_inference() for quantizer in self._distinct()]
        config = self.config.model_copy(update={"quantizer": exported[0][0]})
        return config, GroupedQuantizer(config, [quantizer for _, quantizer in exported]).eval()

    def _distinct(self) -> list[Quantizer]:
        quantizers = list(self.quantizers)
        assert all(isinstance(quantizer, Quantizer) for quantizer in quantizers)
        return quantizers  # type: ignore[return-value]

    def _pairs(self, values: torch.Tensor) -> list[tuple[Quantizer, torch.Tensor]]:
        """Put each group's quantizer beside its channels, or its tokens."""
        quantizers = self._distinct() * (self.config.groups if self.config.shared else 1)
        return list(zip(quantizers, values.chunk(self.config.groups, dim=1), strict=True))
