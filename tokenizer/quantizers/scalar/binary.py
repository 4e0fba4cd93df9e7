"""Binary quantization: a code is the signs of the latent's channels (LFQ, BSQ)."""

import copy
from typing import Annotated, Literal

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor

from ...config import Config
from ...shapes import Latent, Tokens
from ..base import Part, Quantized, Quantizer, check_latent
from ..entropy import binary_entropies
from ..gradients import damp_short, with_gradient_of
from ..scale import on_unit_sphere
from .mixed_radix import Digits

MAX_BITS = 62
"""Channels whose signs an int64 can number."""
MAX_ENTROPY_BITS = 12
"""Channels whose 2^12 combinations can be held for each latent of a batch."""


class BinaryConfig(Config):
    """What the binary quantizers have in common."""

    dim: Annotated[int, Field(ge=1, le=MAX_BITS)]
    """Latent channels, one bit each: 2 ** dim codes. The first channel is the least significant bit of the token."""
    temperature: Annotated[float, Field(gt=0)] = 0.01
    """Temperature of the soft assignment whose entropies are the losses."""


class LFQConfig(BinaryConfig):
    """Signs of the latent as it is, held at +-1 by the commitment loss."""

    name: Literal["lfq"] = "lfq"
    """Kind of quantizer: lfq."""
    entropy_bits: Annotated[int, Field(ge=1, le=MAX_ENTROPY_BITS)] = 9
    """Channels that the codebook entropy takes together: exact within such a group, summed over groups."""

    def build(self, level: int = 0) -> "BinaryQuantizer":
        return BinaryQuantizer(self, code_value=2.0**-level, on_sphere=False, entropy_bits=self.entropy_bits)


class BSQConfig(BinaryConfig):
    """Signs of the latent on the unit sphere."""

    name: Literal["bsq"] = "bsq"
    """Kind of quantizer: bsq."""
    entropy_bits: Annotated[int, Field(ge=1, le=MAX_ENTROPY_BITS)] = 1
    """Channels that the codebook entropy takes together; the paper's is each by itself."""

    def build(self, level: int = 0) -> "BinaryQuantizer":
        # Only the whole latent lies on the sphere; what a level left over does not.
        code_value = self.dim**-0.5 * 2.0**-level
        return BinaryQuantizer(self, code_value, on_sphere=level == 0, entropy_bits=self.entropy_bits)


class BinaryQuantizer(Quantizer):
    """Replace each channel by +-a: LFQ (arXiv 2310.05737) with a = 1, BSQ (arXiv 2406.07548) on the sphere with a = d^-1/2.

    As level i of a residual quantizer it has a / 2^i. The gradient is straight-through (after the normalisation, on the
    sphere). Losses in training mode: `commitment` mean |z - sg q|^2; `sample_entropy` and `codebook_entropy` (negated) of
    p(c | z) = softmax over all 2^d codes of -|z - c|^2 / temperature, in nats. p is a product over channels,
    p_i = sigmoid(4 a z_i / temperature), so the sample entropy is exactly the sum of the channels'; the entropy of the
    mean of p is taken exactly in groups of `entropy_bits` channels and summed, which bounds it from above. No `n 2^d`
    table exists. The mean goes over all ranks.
    """

    config: LFQConfig | BSQConfig
    num_codebooks = 1

    def __init__(self, config: LFQConfig | BSQConfig, code_value: float, on_sphere: bool, entropy_bits: int):
        super().__init__()
        self.config = config
        self.dim = config.dim
        self.digits = Digits([2] * config.dim)
        self.vocab_size = self.digits.count
        self.code_value = code_value
        self.on_sphere = on_sphere
        self.entropy_bits = entropy_bits

    def forward(self, latent: Latent) -> Quantized:
        check_latent(latent, self.dim)
        with torch.autocast(latent.device.type, enabled=False):
            point = self.to_code_space(latent)
            bits = point.detach() > 0
            tokens = self.digits.pack(bits.long())
            codes = self._codes(bits)
            losses = self._losses(point, codes) if self.training else {}
        return Quantized(with_gradient_of(codes, point), tokens, losses)

    def codes_of(self, tokens: Tokens) -> Latent:
        return self._codes(self.digits.unpack(tokens) == 1)

    def to_code_space(self, latent: Latent) -> Latent:
        check_latent(latent, self.dim)
        point = latent.float()
        return on_unit_sphere(damp_short(point, dim=1), dim=1) if self.on_sphere else point

    def parts(self, latent: Latent) -> list[Part]:
        return [Part(self, latent)]

    def token_grid(self, y: int, x: int) -> tuple[int, int]:
        return y, x

    def for_inference(self) -> tuple[Config, Quantizer]:
        return self.config, copy.deepcopy(self).eval()

    def _codes(self, bits: Tensor) -> Latent:
        return (bits.float() * 2 - 1) * self.code_value

    def _losses(self, point: Latent, codes: Latent) -> dict[str, Tensor]:
        if not point.numel():
            none = point.new_zeros(1, self.dim, 1, 1)
            return {name: loss * 0 for name, loss in self._losses(none, none).items()}
        logits = rearrange(point, "b d y x -> (b y x) d") * (4 * self.code_value / self.config.temperature)
        entropy = binary_entropies(logits, self.entropy_bits)
        return {
            "commitment": (point - codes).square().mean(),
            "sample_entropy": entropy.sample,
            "codebook_entropy": -entropy.codebook,
        }
