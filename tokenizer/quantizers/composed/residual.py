"""Residual quantization: each level quantizes what the levels before it left over."""

import functools
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from ...config import Config, choice
from ...shapes import Latent, Tokens
from ..base import Part, Quantized, Quantizer, as_grid, as_rows, check_latent
from ..gradients import GRADIENTS, GradientName, check_gradient
from ..lattice.leech import LeechConfig
from ..table import ELEMENTARY, ElementaryConfig
from ..vector.quantizer import VectorConfig, VectorQuantizer
from .deferred_updates import noticed_once

MAX_LEVELS = 64


class ResidualConfig(Config):
    """Levels of one kind of quantizer, the tokens of a position being one code of each."""

    name: Literal["residual"] = "residual"
    """Kind of quantizer: residual."""
    quantizer: Annotated[ElementaryConfig, choice(ELEMENTARY)]
    """Quantizer of every level; its gradient stays straight_through, for the residual has one of its own."""
    depth: Annotated[int, Field(ge=1, le=MAX_LEVELS)]
    """Number of levels."""
    shared: bool = False
    """Whether all levels have the same codebook; scalar and binary levels have none, only their scale differs."""
    gradient: GradientName = "straight_through"
    """What the encoder feels, from the latent to the sum of the codes: one of GRADIENTS that keep codes as they are."""
    dropout: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of training forwards that stop after a random number of levels, so that fewer levels decode too."""

    @field_validator("quantizer")
    @classmethod
    def _has_no_gradient_of_its_own(cls, quantizer: ElementaryConfig) -> ElementaryConfig:
        if isinstance(quantizer, VectorConfig) and (quantizer.gradient != "straight_through" or quantizer.soft):
            raise ValueError(
                f"the levels have gradient {quantizer.gradient!r}, but a residual quantizer sets it once, for the sum of "
                "the levels: give gradient beside depth, and levels that choose by distance alone (not ibq)."
            )
        return quantizer

    @field_validator("quantizer")
    @classmethod
    def _refines(cls, quantizer: ElementaryConfig) -> ElementaryConfig:
        if isinstance(quantizer, LeechConfig):
            raise ValueError(
                "the levels are leech, whose codes all have length 1 and so cannot refine what is left over: use grouped for "
                "several tokens, or levels of vq, ema, simvq, fsq, fsp, lfq or bsq."
            )
        if isinstance(quantizer, VectorConfig) and quantizer.similarity != "euclidean":
            raise ValueError(
                f"the levels have similarity {quantizer.similarity!r}, which does not choose the code that leaves least over: "
                "use euclidean."
            )
        if isinstance(quantizer, VectorConfig) and quantizer.squash != "none":
            raise ValueError(
                f"the levels have squash {quantizer.squash!r}, which would bend what is left over at every level: use none."
            )
        return quantizer

    @model_validator(mode="after")
    def _gradient_fits(self) -> "ResidualConfig":
        if self.gradient in ("diveq", "nsvq", "soft"):
            raise ValueError(
                f"gradient is {self.gradient!r}, which moves codes through the latent, but those of a residual quantizer are "
                "constants of a sum: use straight_through, rotation, reflection or dynamic_straight_through."
            )
        check_gradient(self.gradient, self.quantizer.dim)
        return self

    def build(self) -> "ResidualQuantizer":
        inner = self.quantizer
        if isinstance(inner, VectorConfig):
            return ResidualQuantizer(self, [inner.build() for _ in range(1 if self.shared else self.depth)])
        return ResidualQuantizer(self, [inner.build(level) for level in range(self.depth)])


class ResidualQuantizer(Quantizer):
    """Quantize the latent, then what is left, `depth` times; the code is the sum (RVQ, arXiv 2107.03312, 2203.01941).

    What is left is taken from the latent as the first level compares it (bounded by FSQ, on the sphere of BSQ). Level i of
    a binary or scalar quantizer is L^-i as coarse, L = 2 for binary ones. The gradient goes from the sum to the latent once,
    through `gradient`: through every level by itself it would count `depth` times. Losses are the means over the levels
    that have them. With dropout, the latent of a training forward is the sum of the first levels only, and the others have
    no loss; the tokens are those of all levels. A codebook that levels share moves once a forward.
    """

    config: ResidualConfig

    def __init__(self, config: ResidualConfig, levels: Sequence[Quantizer]):
        super().__init__()
        self.config = config
        self.levels = nn.ModuleList(levels)
        self.dim = levels[0].dim
        self.vocab_size = levels[0].vocab_size
        self.num_codebooks = config.depth
        self.returns_codes = config.dropout == 0 and all(level.returns_codes for level in levels)

    def forward(self, latent: Latent) -> Quantized:
        kept = self._kept_levels()
        point = self.to_code_space(latent)
        left, level_input = point, latent
        codes: list[Latent] = []
        results: list[Quantized] = []
        with noticed_once(self):
            for level in self._levels():
                results.append(level(level_input))
                codes.append(_code(level, results[-1]))
                left = level_input = left - codes[-1]
        total = _sum([*codes[: kept - 1], results[kept - 1].latent.detach()])
        if torch.is_grad_enabled():
            total = _rows(point, total, self.config.gradient)
        losses = _means([result.losses for result in results], kept)
        return Quantized(total, torch.cat([result.tokens for result in results], dim=1), losses)

    def codes_of(self, tokens: Tokens) -> Latent:
        parts = tokens.split(1, dim=1)
        return _sum([level.codes_of(part) for level, part in zip(self._levels(), parts, strict=True)])

    def to_code_space(self, latent: Latent) -> Latent:
        check_latent(latent, self.dim)
        return self._distinct()[0].to_code_space(latent)

    @torch.no_grad()
    def parts(self, latent: Latent) -> list[Part]:
        parts = []
        left, level_input = self.to_code_space(latent), latent
        for level in self._levels():
            parts += level.parts(level_input)
            left = level_input = left - level(level_input).latent
        return parts

    def token_grid(self, y: int, x: int) -> tuple[int, int]:
        return y, x

    @torch.no_grad()
    def for_inference(self) -> tuple[Config, Quantizer]:
        exported = [level.for_inference() for level in self._distinct()]
        config = self.config.model_copy(update={"quantizer": exported[0][0], "dropout": 0.0})
        return config, ResidualQuantizer(config, [quantizer for _, quantizer in exported]).eval()

    def _distinct(self) -> list[Quantizer]:
        levels = list(self.levels)
        assert all(isinstance(level, Quantizer) for level in levels)
        return levels  # type: ignore[return-value]

    def _levels(self) -> list[Quantizer]:
        levels = self._distinct()
        return levels * (self.num_codebooks // len(levels))

    def _kept_levels(self) -> int:
        if not self.training or torch.rand(()) >= self.config.dropout:
            return self.num_codebooks
        return int(torch.randint(1, self.num_codebooks + 1, ()))


def _sum(codes: list[Latent]) -> Latent:
    # One order of additions for training and lookup, which must agree bit for bit.
    return functools.reduce(torch.add, codes)


@torch.no_grad()
def _code(level: Quantizer, result: Quantized) -> Latent:
    # In training a scalar level may return noise in the place of its code; a vector level's table is not made twice.
    return result.latent.detach() if isinstance(level, VectorQuantizer) else level.codes_of(result.tokens)


def _means(losses: list[dict[str, Tensor]], kept: int) -> dict[str, Tensor]:
    """Average each term over the first `kept` levels, of those that have it."""
    names = dict.fromkeys(name for level in losses for name in level)
    means = {}
    for name in names:
        having = [number for number, level in enumerate(losses) if name in level]
        count = sum(number < kept for number in having)
        values = torch.stack([losses[number][name] for number in having])
        # Levels that were dropped stay in the graph with weight 0: distributed training waits for every parameter. The
        # weights are made on the device, for a copy would wait for it.
        means[name] = (values * (torch.arange(len(having), device=values.device) < count) / count).sum()
    return means


def _rows(latent: Latent, codes: Latent, gradient: str) -> Latent:
    return as_grid(GRADIENTS[gradient](as_rows(latent), as_rows(codes)), latent)
