"""Residual quantization: each level quantizes what the levels before it left over."""

import functools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from einops import rearrange
from pydantic import Field, field_validator
from torch import Tensor, nn

from ..config import Config
from ..shapes import Latent, Tokens
from .base import Part, Quantized, Quantizer, check_latent, check_tokens
from .elementary import ElementaryConfig, parse_elementary
from .gradients import GRADIENTS
from .vector import VectorConfig


class ResidualConfig(Config):
    """Levels of one kind of quantizer, the tokens of a position being one code of each."""

    name: Literal["residual"] = "residual"
    """Kind of quantizer: residual."""
    quantizer: ElementaryConfig
    """Quantizer of every level; its gradient stays straight_through, for the residual has one of its own."""
    depth: Annotated[int, Field(ge=1)]
    """Number of levels."""
    shared: bool = False
    """Whether all levels have the same codebook."""
    gradient: Literal["straight_through", "rotation", "rotation_no_scale", "rotation_tangent", "reflection"] = (
        "straight_through"
    )
    """What the encoder feels, from the latent to the sum of the codes."""
    dropout: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of training forwards that stop after a random number of levels, so that fewer levels decode too."""

    @field_validator("quantizer", mode="before")
    @classmethod
    def _by_name(cls, values: Any) -> Any:
        return parse_elementary(values) if isinstance(values, Mapping) else values

    @field_validator("quantizer")
    @classmethod
    def _has_no_gradient_of_its_own(cls, quantizer: ElementaryConfig) -> ElementaryConfig:
        if isinstance(quantizer, VectorConfig) and (quantizer.gradient != "straight_through" or quantizer.soft):
            raise ValueError(
                f"the levels have gradient {quantizer.gradient!r}, but a residual quantizer sets it once, for the sum of "
                "the levels: give gradient beside depth, and no soft assignment."
            )
        return quantizer

    def build(self) -> "ResidualQuantizer":
        levels = [self.quantizer.build() for _ in range(1 if self.shared else self.depth)]
        return ResidualQuantizer(self, levels)


class ResidualQuantizer(Quantizer):
    """Quantize the latent, then what is left, `depth` times; the code is the sum (RVQ, arXiv 2107.03312, 2203.01941).

    The gradient goes from the sum to the latent once, through `gradient`: through every level by itself it would count
    `depth` times. Losses are the means of the levels'. With dropout, the latent of a training forward is the sum of the
    first levels only, and the others have no loss; the tokens are those of all levels.
    """

    def __init__(self, config: ResidualConfig, levels: Sequence[Quantizer]):
        super().__init__()
        self.config = config
        self.levels = nn.ModuleList(levels)
        self.dim = levels[0].dim
        self.vocab_size = levels[0].vocab_size
        self.num_codebooks = config.depth

    def forward(self, latent: Latent) -> Quantized:
        check_latent(latent, self.dim)
        kept = self._kept_levels()
        residual = latent.float()
        tokens: list[Tensor] = []
        codes: list[Tensor] = []
        losses: dict[str, list[Tensor]] = {}
        for level in self._levels():
            quantized = level(residual)
            tokens.append(quantized.tokens)
            codes.append(quantized.latent.detach())
            residual = residual - codes[-1]
            for name, loss in quantized.losses.items():
                losses.setdefault(name, []).append(loss)
        total = _sum(codes[:kept])
        if torch.is_grad_enabled():
            total = _rows(latent.float(), total, self.config.gradient)
        # Levels that were dropped stay in the graph with weight 0: distributed training waits for every parameter.
        share = [1 / kept if number < kept else 0.0 for number in range(self.num_codebooks)]
        weights = torch.tensor(share, device=latent.device)
        means = {name: (torch.stack(values) * weights).sum() for name, values in losses.items()}
        return Quantized(total, torch.cat(tokens, dim=1), means)

    def lookup(self, tokens: Tokens) -> Latent:
        check_tokens(tokens, self.num_codebooks, self.vocab_size)
        parts = tokens.split(1, dim=1)
        return _sum([level.lookup(part) for level, part in zip(self._levels(), parts, strict=True)])

    def project(self, latent: Latent) -> Latent:
        check_latent(latent, self.dim)
        return latent.float()

    @torch.no_grad()
    def parts(self, latent: Latent) -> list[Part]:
        parts = []
        residual = latent.float()
        for level in self._levels():
            parts += level.parts(residual)
            residual = residual - level.lookup(level(residual).tokens)
        return parts

    def token_grid(self, y: int, x: int) -> tuple[int, int]:
        return y, x

    @torch.no_grad()
    def folded(self) -> tuple[Config, Quantizer]:
        folded = [level.folded() for level in self._distinct()]
        config = self.config.model_copy(update={"quantizer": folded[0][0], "dropout": 0.0})
        return config, ResidualQuantizer(config, [quantizer for _, quantizer in folded]).eval()

    def _distinct(self) -> list[Quantizer]:
        levels = list(self.levels)
        assert all(isinstance(level, Quantizer) for level in levels)
        return levels  # type: ignore[return-value]

    def _levels(self) -> list[Quantizer]:
        return self._distinct() * (self.num_codebooks if self.config.shared else 1)

    def _kept_levels(self) -> int:
        if not self.training or torch.rand(()) >= self.config.dropout:
            return self.num_codebooks
        return int(torch.randint(1, self.num_codebooks + 1, ()))


def _sum(codes: list[Latent]) -> Latent:
    # One order of additions for training and lookup, which must agree bit for bit.
    return functools.reduce(torch.add, codes)


def _rows(latent: Latent, codes: Latent, gradient: str) -> Latent:
    rows = [rearrange(x, "b d y x -> (b y x) d") for x in (latent, codes)]
    return rearrange(GRADIENTS[gradient](*rows), "(b y x) d -> b d y x", b=latent.shape[0], y=latent.shape[2])
