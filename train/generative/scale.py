"""The scale of the residual: how far the plain decoder's answers are from the images."""

from collections.abc import Iterable, Sequence

import torch
from accelerate import Accelerator

from ...tokenizer.decoders.base import ExtraDecoder
from ...tokenizer.model import VisualTokenizer
from ...tokenizer.shapes import Pixels

CROPS = 64
"""Crops to measure on, if a batch is not larger."""
MIN_SCALE = 1e-4
"""Far below the half of an 8-bit step."""
UNKNOWN = 0.0


class ResidualScale:
    """Keeps one scale for copies of a decoder; `UNKNOWN` until it is measured. It is a fact of each checkpoint."""

    def __init__(self, decoders: Sequence[ExtraDecoder]):
        self._decoders = decoders

    @property
    def is_known(self) -> bool:
        """Whether a decoder that training starts from, or a teacher, has given it."""
        return self.value != UNKNOWN

    @property
    def value(self) -> float:
        return self._decoders[0].scale

    def set(self, scale: float) -> None:
        for decoder in self._decoders:
            decoder.scale = scale

    @torch.no_grad()
    def measure(self, model: VisualTokenizer, batches: Iterable[Pixels], accelerator: Accelerator) -> None:
        """Set it to the root mean square of x - x0 over the first crops of a run; every process must call it, with its own."""
        squares, crops = [], 0
        for pixels in batches:
            base = model.decode_latent(model.quantizer(model.encode_latent(pixels)).latent)
            squares.append((pixels - base).square().mean())
            crops += len(pixels) * accelerator.num_processes
            if crops >= CROPS:
                break
        mean = accelerator.reduce(torch.stack(squares).mean(), reduction="mean")
        assert isinstance(mean, torch.Tensor)
        self.set(max(MIN_SCALE, float(mean.sqrt())))
