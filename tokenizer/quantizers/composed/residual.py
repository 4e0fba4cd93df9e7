"""Residual quantization: each level quantizes what the levels before it left over."""

import functools
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, BeforeValidator, Field, field_validator
from torch import Tensor, nn

from ...config import Choice
from ...shapes import Latent, Tokens
from ..base import Quantized, Quantizer, QuantizerConfig
from ..gradients import GRADIENTS, GradientName, check_gradient
from ..layout import as_grid, as_rows
from ..observation import Observation
from ..scalar.digits import RefinableConfig
from .inner import AllowedIn, check_level, quantizers_of

LEVELS = AllowedIn("residual", "refine what other levels leave over")
MAX_LEVELS = 64


class ResidualConfig(QuantizerConfig):
    """Levels of one kind of quantizer, the tokens of a position being one code of each."""

    allowed_in = frozenset({"grouped"})

    name: Literal["residual"] = "residual"
    """Kind of quantizer: residual."""
    quantizer: Annotated[
        QuantizerConfig, Choice(LEVELS.entries), BeforeValidator(LEVELS.check), AfterValidator(check_level)
    ]
    """Quantizer of every level; its gradient stays straight_through, because the residual quantizer has its own."""
    depth: Annotated[int, Field(ge=1, le=MAX_LEVELS)]
    """Number of levels."""
    shared: bool = False
    """Whether all levels have the same codebook; scalar and binary levels have none, only their scale differs."""
    gradient: GradientName = "straight_through"
    """Gradient from the sum of the codes to the latent: one of GRADIENTS that keep codes as they are."""
    dropout: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Fraction of training forwards that stop after a random number of levels, so that fewer levels decode too."""

    @field_validator("gradient")
    @classmethod
    def _keeps_codes(cls, gradient: GradientName) -> GradientName:
        if gradient in ("diveq", "nsvq", "soft"):
            raise ValueError(
                f"gradient is {gradient!r}, which moves codes through the latent, but those of a residual quantizer are "
                "constants of a sum: use straight_through, rotation, reflection or dynamic_straight_through."
            )
        return gradient

    def build(self) -> "ResidualQuantizer":
        inner = self.quantizer
        if isinstance(inner, RefinableConfig):
            return ResidualQuantizer(self, [inner.build_level(level) for level in range(self.depth)])
        return ResidualQuantizer(self, [inner.build() for _ in range(1 if self.shared else self.depth)])


class ResidualQuantizer(Quantizer):
    """Quantize the latent, then what is left, `depth` times; the code is the sum (arXiv 2107.03312, 2203.01941).

    What is left is taken from the latent as the first level compares it (bounded by FSQ, on the sphere of BSQ). Level i of
    a binary or scalar quantizer has steps L^-i as large, L = 2 for binary ones. The gradient goes from the sum to the
    latent once, through `gradient`; through every level it would count `depth` times. Losses are means over the levels that
    have them. With dropout, a training forward may return the sum of the first levels only, the others without a loss.
    """

    config: ResidualConfig

    def __init__(self, config: ResidualConfig, levels: Sequence[Quantizer]):
        super().__init__()
        check_gradient(config.gradient, levels[0].dim)
        self.config = config
        self.levels = nn.ModuleList(levels)
        self.dim = levels[0].dim
        self.vocab_size = levels[0].vocab_size
        self.num_codebooks = config.depth
        self.loss_names = tuple(dict.fromkeys(name for level in levels for name in level.loss_names))
        self.is_bounded = levels[0].is_bounded
        self.returns_codes = config.dropout == 0 and all(level.returns_codes for level in levels)

    def quantize(self, latent: Latent) -> tuple[Quantized, list[Observation]]:
        kept = self._kept_levels()
        point = self.to_code_space(latent)
        left, level_input = point, latent
        codes: list[Latent] = []
        results: list[Quantized] = []
        seen: list[Observation] = []
        for level in self.codebooks():
            result, seen_by_level = level.quantize(level_input)
            results.append(result)
            seen += seen_by_level
            # Codes that the result has are not looked up again: a projected codebook would compute its table twice.
            codes.append((result.latent if level.returns_codes else level.codes_of(result.tokens)).detach())
            left = level_input = left - codes[-1]
        total = _sum([*codes[: kept - 1], results[kept - 1].latent.detach()])
        if torch.is_grad_enabled():
            total = as_grid(GRADIENTS[self.config.gradient](as_rows(point), as_rows(total)), point)
        losses = _means([result.losses for result in results], kept)
        return Quantized(total, torch.cat([result.tokens for result in results], dim=1), losses), seen

    def codes_of(self, tokens: Tokens) -> Latent:
        parts = tokens.split(1, dim=1)
        return _sum([level.codes_of(part) for level, part in zip(self.codebooks(), parts, strict=True)])

    def to_code_space(self, latent: Latent) -> Latent:
        return self.codebooks()[0].to_code_space(latent)

    def codebooks(self) -> list[Quantizer]:
        levels = quantizers_of(self.levels)
        return levels * (self.num_codebooks // len(levels))

    @torch.no_grad()
    def codebook_inputs(self, latent: Latent) -> list[Tensor]:
        left, inputs = self.to_code_space(latent), [latent.detach()]
        for level in self.codebooks()[:-1]:
            left = left - level(inputs[-1]).latent
            inputs.append(left)
        return inputs

    def token_grid(self, y: int, x: int) -> tuple[int, int]:
        return y, x

    @torch.no_grad()
    def for_inference(self) -> tuple[QuantizerConfig, Quantizer]:
        exported = [level.for_inference() for level in quantizers_of(self.levels)]
        config = self.config.model_copy(update={"quantizer": exported[0][0], "dropout": 0.0})
        return config, ResidualQuantizer(config, [quantizer for _, quantizer in exported]).eval()

    def _kept_levels(self) -> int:
        if not self.training or torch.rand(()) >= self.config.dropout:
            return self.num_codebooks
        return int(torch.randint(1, self.num_codebooks + 1, ()))


def _sum(codes: list[Latent]) -> Latent:
    return functools.reduce(torch.add, codes)  # in one order in training and lookup, which must agree bit for bit


def _means(losses: list[dict[str, Tensor]], kept: int) -> dict[str, Tensor]:
    """Average each term over the first `kept` levels, of those that have it."""
    means = {}
    for name in dict.fromkeys(name for level in losses for name in level):
        having = [index for index, level in enumerate(losses) if name in level]
        count = sum(index < kept for index in having)
        values = torch.stack([losses[index][name] for index in having])
        # Dropped levels stay in the graph with weight 0, since distributed training waits for every parameter. The weights
        # are made on the device, because a copy would wait for it.
        means[name] = (values * (torch.arange(len(having), device=values.device) < count) / count).sum()
    return means
