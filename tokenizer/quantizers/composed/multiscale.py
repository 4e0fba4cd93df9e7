"""Multi-scale residual quantization: coarse grids first, each finer one quantizing what is left (VAR, arXiv 2404.02905)."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import torch
from einops import rearrange
from pydantic import AfterValidator, BeforeValidator, Field, field_validator
from torch import Tensor
from torch.nn import functional

from ...config import Choice
from ...shapes import Latent, Tokens
from ..base import Quantized, Quantizer, QuantizerConfig, with_gradient_of
from ..observation import Observation
from ..vector.quantizer import VectorQuantizer, codes_at
from .inner import AllowedIn, check_scale
from .smoothing import Smoothers

SCALES = AllowedIn("multiscale", "serve several scales")
MAX_SCALES = 64
Side = Annotated[int, Field(ge=1, le=1 << 12)]
VAR_SCALES = [1, 2, 3, 4, 5, 6, 8, 10, 13, 16]


class MultiscaleConfig(QuantizerConfig):
    """One codebook for all scales of a square grid; an image is one sequence of tokens, the coarsest first."""

    name: Literal["multiscale"] = "multiscale"
    """Kind of quantizer: multiscale."""
    quantizer: Annotated[
        QuantizerConfig, Choice(SCALES.entries), BeforeValidator(SCALES.check), AfterValidator(check_scale)
    ]
    """Vector quantizer of every scale, with straight_through gradient."""
    scales: Annotated[list[Side], Field(min_length=1, max_length=MAX_SCALES)] = VAR_SCALES
    """Sides of the grids, rising; the last is that of the latent."""
    smoothers: Annotated[int, Field(ge=1, le=MAX_SCALES)] = 4
    """Convolutions that smooth the enlarged codes, each shared by neighbouring scales as in VAR."""
    smoothing: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Fraction of the smoothed codes in the sum; the rest is the enlarged codes as they are."""

    @field_validator("scales")
    @classmethod
    def _rises(cls, scales: list[int]) -> list[int]:
        if any(later <= earlier for earlier, later in itertools.pairwise(scales)):
            raise ValueError(f"scales are {scales}, but must rise from the coarsest to that of the latent.")
        return scales

    def build(self) -> "MultiscaleQuantizer":
        inner = self.quantizer.build()
        assert isinstance(inner, VectorQuantizer)
        return MultiscaleQuantizer(self, inner)


class MultiscaleQuantizer(Quantizer):
    """Shrink what is left of the latent to each scale, quantize it, enlarge and smooth the codes, and subtract them.

    Tokens are `b 1 1 n`, n the sum of the squared scales (680 for VAR's ten), scale after scale and row after row. Losses,
    means over the scales, compare the sum so far with the latent: `codebook` |sg z - f|^2, `commitment` |z - sg f|^2. The
    gradient is straight-through from the whole sum.
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
        self.side = config.scales[-1]
        self.length = sum(scale**2 for scale in config.scales)
        self.smoothers = Smoothers(self.dim, len(config.scales), config.smoothers, self.side, config.smoothing)

    def quantize(self, latent: Latent) -> tuple[Quantized, list[Observation]]:
        target = self.to_code_space(latent)
        lefts, tokens, totals = zip(*self._walk(target), strict=True)
        losses = _losses(target, totals) if self.training else {}
        rows = [rearrange(part, "b 1 y x -> b 1 1 (y x)") for part in tokens]
        seen = [
            Observation(self.quantizer.codebook.observe, self.quantizer.vectors(left), part.flatten())
            for left, part in zip(lefts, tokens, strict=True)
            if self.training
        ]
        return Quantized(with_gradient_of(totals[-1], target), torch.cat(rows, dim=3), losses), seen

    def codes_of(self, tokens: Tensor) -> Latent:
        if tokens.shape[2:] != self.token_grid(self.side, self.side):
            raise ValueError(
                f"The quantizer got tokens of shape {tuple(tokens.shape)}, but takes b 1 1 {self.length}: all scales of an "
                "image in one row."
            )
        codes = self.quantizer.codes()
        total = codes.new_zeros(len(tokens), self.dim, self.side, self.side)
        for index, part in enumerate(tokens.split([scale**2 for scale in self.config.scales], dim=3)):
            grid = rearrange(part, "b 1 1 (y x) -> b 1 y x", y=self.config.scales[index])
            total = total + self.smoothers(codes_at(grid, codes), index)
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
        if (y, x) != (self.side, self.side):
            raise ValueError(
                f"The multi-scale quantizer got a grid of {y} x {x}, but its last scale is {self.side}: resize the images "
                "or change scales."
            )
        return 1, self.length

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
        for index, scale in enumerate(self.config.scales):
            rest = target.detach() - total.detach()
            left = functional.interpolate(rest, size=(scale, scale), mode="area")
            tokens = self.quantizer.nearest(left, codes)
            total = total + self.smoothers(codes_at(tokens, codes), index)
            yield left, tokens, total


def _losses(target: Latent, totals: Sequence[Latent]) -> dict[str, Tensor]:
    mean = torch.mean if target.numel() else torch.sum
    return {
        "commitment": torch.stack([mean((target - total.detach()).square()) for total in totals]).mean(),
        # The smoothers learn from this term too, whatever moves the codes.
        "codebook": torch.stack([mean((target.detach() - total).square()) for total in totals]).mean(),
    }
