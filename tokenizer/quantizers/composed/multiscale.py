"""Multi-scale residual quantization: coarse grids first, each finer one quantizing what is left (VAR, arXiv 2404.02905)."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator
from torch import Tensor
from torch.nn import functional

from ...config import Choice
from ...scale_grids import scale_grids, split_scales, token_grid
from ...shapes import Latent, Tokens
from ..base import Quantized, Quantizer, QuantizerConfig, with_gradient_of
from ..observation import Observation
from ..vector.quantizer import VectorQuantizer, codes_at
from .inner import AllowedIn, check_scale
from .smoothing import Smoothers, check_smoothers

SCALES = AllowedIn("multiscale", "serve several scales")
MAX_SCALES = 64
Side = Annotated[int, Field(ge=1, le=1 << 12)]
Index = Annotated[int, Field(ge=0, lt=MAX_SCALES)]
VAR_SCALES = [1, 2, 3, 4, 5, 6, 8, 10, 13, 16]


class MultiscaleConfig(QuantizerConfig):
    """One codebook for all scales of a grid; an image is one sequence of tokens, the coarsest first."""

    name: Literal["multiscale"] = "multiscale"
    """Kind of quantizer: multiscale."""
    quantizer: Annotated[
        QuantizerConfig, Choice(SCALES.entries), BeforeValidator(SCALES.check), AfterValidator(check_scale)
    ]
    """Vector quantizer of every scale, with straight_through gradient."""
    scales: Annotated[list[Side], Field(min_length=1, max_length=MAX_SCALES)] = VAR_SCALES
    """Sides of the grids, rising; the last is that of the latent. Latents of other sides have grids in proportion."""
    smoothers: Annotated[int, Field(ge=1, le=MAX_SCALES)] = 4
    """Convolutions that smooth the enlarged codes, each shared by neighbouring scales as in VAR."""
    smoother_of_scale: Annotated[list[Index], Field(max_length=MAX_SCALES)] | None = None
    """Index of the smoother of each scale, or none to share them as VAR computes it."""
    smoothing: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Fraction of the smoothed codes in the sum; the rest is the enlarged codes as they are."""

    @field_validator("scales")
    @classmethod
    def _rises(cls, scales: list[int]) -> list[int]:
        if any(later <= earlier for earlier, later in itertools.pairwise(scales)):
            raise ValueError(f"scales are {scales}, but must rise from the coarsest to that of the latent.")
        return scales

    @model_validator(mode="after")
    def _each_scale_has_a_smoother(self) -> "MultiscaleConfig":
        check_smoothers(self.smoother_of_scale, len(self.scales), self.smoothers)
        return self

    def build(self) -> "MultiscaleQuantizer":
        inner = self.quantizer.build()
        assert isinstance(inner, VectorQuantizer)
        return MultiscaleQuantizer(self, inner)


class MultiscaleQuantizer(Quantizer):
    """Shrink what is left of the latent to each scale, quantize it, enlarge and smooth the codes, and subtract them.

    Tokens are `b 1 1 n`, n the sum of the squared scales (680 for VAR's ten), scale after scale and row after row, or `b 1 n 1`
    if the latent is higher than wide. Losses, means over the scales, compare the sum so far with the latent: `codebook`
    |sg z - f|^2, `commitment` |z - sg f|^2. The gradient is straight-through from the whole sum.
    """

    config: MultiscaleConfig
    num_codebooks = 1
    loss_names = ("commitment", "codebook")
    needs_grid = True

    def __init__(self, config: MultiscaleConfig, quantizer: VectorQuantizer):
        super().__init__()
        self.config = config
        self.quantizer = quantizer
        self.dim = quantizer.dim
        self.vocab_size = quantizer.vocab_size
        self.smoothers = Smoothers(
            self.dim, len(config.scales), config.smoothers, config.smoother_of_scale, config.smoothing
        )

    def quantize(self, latent: Latent) -> tuple[Quantized, list[Observation]]:
        target = self.to_code_space(latent)
        lefts, tokens, totals = zip(*self._walk(target), strict=True)
        losses = _losses(target, totals) if self.training else {}
        joined = torch.cat([part.flatten(1) for part in tokens], dim=1)
        seen = [
            Observation(self.quantizer.codebook.observe, self.quantizer.vectors(left), part.flatten())
            for left, part in zip(lefts, tokens, strict=True)
            if self.training
        ]
        joined = joined.reshape(target.shape[0], 1, *self.token_grid(*target.shape[2:]))
        return Quantized(with_gradient_of(totals[-1], target), joined, losses), seen

    def codes_of(self, tokens: Tensor) -> Latent:
        (y, x), parts = split_scales(self.config.scales, tokens)
        codes = self.quantizer.codes()
        total = codes.new_zeros(tokens.shape[0], self.dim, y, x)
        for index, part in enumerate(parts):
            total = total + self.smoothers(codes_at(part, codes), index, (y, x))
        return total

    def to_code_space(self, latent: Latent) -> Latent:
        self.token_grid(*latent.shape[2:])
        return latent.float()

    def codebooks(self) -> list[Quantizer]:
        return [self.quantizer]

    @torch.no_grad()
    def codebook_inputs(self, latent: Latent) -> list[Tensor]:
        target = self.to_code_space(latent)
        with torch.autocast(latent.device.type, enabled=False):
            return [torch.cat([left.flatten(2).unsqueeze(2) for left, _, _ in self._walk(target)], dim=3)]

    def token_grid(self, y: int, x: int) -> tuple[int, int]:
        return token_grid(self.config.scales, y, x)

    @torch.no_grad()
    def for_inference(self) -> tuple[QuantizerConfig, Quantizer]:
        inner_config, inner = self.quantizer.for_inference()
        assert isinstance(inner, VectorQuantizer)
        config = self.config.model_copy(update={"quantizer": inner_config})
        exported = MultiscaleQuantizer(config, inner).to(inner.codes().device)
        exported.smoothers.load_state_dict(self.smoothers.state_dict())
        return config, exported.eval()

    def _walk(self, target: Latent) -> Iterator[tuple[Latent, Tokens, Latent]]:
        """Yield for each scale what is left at its size, its tokens, and the sum so far at the size of the latent."""
        codes = self.quantizer.codes()
        total = torch.zeros_like(target)
        y, x = target.shape[2:]
        for index, size in enumerate(scale_grids(self.config.scales, y, x)):
            rest = target.detach() - total.detach()
            left = functional.interpolate(rest, size=size, mode="area")
            tokens = self.quantizer.nearest(left, codes)
            total = total + self.smoothers(codes_at(tokens, codes), index, (y, x))
            yield left, tokens, total


def _losses(target: Latent, totals: Sequence[Latent]) -> dict[str, Tensor]:
    mean = torch.mean if target.numel() else torch.sum
    return {
        "commitment": torch.stack([mean((target - total.detach()).square()) for total in totals]).mean(),
        # The smoothers learn from this term too, whatever moves the codes.
        "codebook": torch.stack([mean((target.detach() - total).square()) for total in totals]).mean(),
    }
