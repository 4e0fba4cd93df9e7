"""Quantizers with one codebook."""

import copy
from typing import final

from torch import Tensor

from ..shapes import Latent
from .base import Quantizer, QuantizerConfig


class SingleQuantizer(Quantizer):
    """A quantizer with one codebook, and so with one token per position of the latent."""

    num_codebooks = 1

    @final
    def codebooks(self) -> list[Quantizer]:
        return [self]

    @final
    def codebook_inputs(self, latent: Latent) -> list[Tensor]:
        return [latent.detach()]

    @final
    def token_grid(self, y: int, x: int) -> tuple[int, int]:
        return y, x


class FixedQuantizer(SingleQuantizer):
    """A quantizer whose codes its config fixes: it has no weights, and is exported as it is."""

    @final
    def for_inference(self) -> tuple[QuantizerConfig, Quantizer]:
        return self.config, copy.deepcopy(self).eval()
