"""Binary quantization: a code is the signs of the latent's channels (LFQ, BSQ)."""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from ...shapes import Latent
from ..base import Quantized, Quantizer, with_gradient_of
from ..entropy import binary_entropies
from ..layout import as_rows
from ..observation import Observation
from ..scale import on_unit_sphere
from .digits import MAX_CHANNELS, DigitQuantizer, RefinableConfig

MAX_ENTROPY_BITS = 12
"""Channels whose 2^12 combinations fit in memory for each latent of a batch."""


class BinaryConfig(RefinableConfig):
    """Keys of all binary quantizers."""

    dim: Annotated[int, Field(ge=1, le=MAX_CHANNELS)]
    """Latent channels, one bit each: 2 ** dim codes. The first channel is the least significant bit of the token."""
    temperature: Annotated[float, Field(gt=0)] = 0.01
    """Temperature of the soft assignment whose entropies are the losses."""


class LFQConfig(BinaryConfig):
    """Signs of the latent as it is, held at +-1 by the commitment loss (arXiv 2310.05737)."""

    name: Literal["lfq"] = "lfq"
    """Kind of quantizer: lfq."""
    entropy_bits: Annotated[int, Field(ge=1, le=MAX_ENTROPY_BITS)] = 9
    """Channels that the codebook entropy takes together: exact within such a group, summed over groups."""

    def build_level(self, level: int) -> Quantizer:
        return BinaryQuantizer(self, code_value=2.0**-level, on_sphere=False)


class BSQConfig(BinaryConfig):
    """Signs of the latent on the unit sphere (arXiv 2406.07548)."""

    name: Literal["bsq"] = "bsq"
    """Kind of quantizer: bsq."""
    entropy_bits: Annotated[int, Field(ge=1, le=MAX_ENTROPY_BITS)] = 1
    """Channels that the codebook entropy takes together; the paper takes each by itself."""

    def build_level(self, level: int) -> Quantizer:
        # Only the whole latent lies on the sphere; what a level left over does not.
        return BinaryQuantizer(self, code_value=self.dim**-0.5 * 2.0**-level, on_sphere=level == 0)


class BinaryQuantizer(DigitQuantizer):
    """Replace each channel by +-a: LFQ has a = 1, BSQ lies on the unit sphere with a = d^-1/2.

    As level i of a residual quantizer, a is divided by 2^i. The gradient is straight-through (after the normalisation, on
    the sphere). Losses: `commitment` mean |z - sg q|^2; `sample_entropy` and `codebook_entropy` (negated), in nats, of
    p(c | z) = softmax over all 2^d codes of -|z - c|^2 / temperature. p is a product over channels of
    p_i = sigmoid(4 a z_i / temperature), so the sample entropy is exactly the sum of the channels'. The entropy of the mean
    of p, over all ranks, is exact in groups of `entropy_bits` channels; their sum bounds it from above. No `n 2^d` table
    exists.
    """

    config: LFQConfig | BSQConfig
    loss_names = ("commitment", "sample_entropy", "codebook_entropy")

    def __init__(self, config: LFQConfig | BSQConfig, code_value: float, on_sphere: bool):
        super().__init__(config, [2] * config.dim)
        self.code_value = code_value
        self.on_sphere = on_sphere

    def quantize(self, latent: Latent) -> tuple[Quantized, list[Observation]]:
        point = self.to_code_space(latent)
        bits = (point.detach() > 0).long()
        codes = self.codes_from(bits)
        losses = self._losses(point, codes) if self.training else {}
        return Quantized(with_gradient_of(codes, point), self.tokens_from(bits), losses), []

    def to_code_space(self, latent: Latent) -> Latent:
        return on_unit_sphere(latent.float(), dim=1) if self.on_sphere else latent.float()

    def codes_from(self, digits: Tensor) -> Latent:
        return (digits.float() * 2 - 1) * self.code_value

    def _losses(self, point: Latent, codes: Latent) -> dict[str, Tensor]:
        if not point.numel():
            one = point.new_zeros(1, self.dim, 1, 1)
            return {name: loss * 0 for name, loss in self._losses(one, one).items()}
        logits = as_rows(point) * (4 * self.code_value / self.config.temperature)
        return {"commitment": (point - codes).square().mean(), **binary_entropies(logits, self.config.entropy_bits)}
