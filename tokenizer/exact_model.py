"""A model as `vistok.load` runs it: laid out for its device, every image decoded as if it were alone."""

import torch
from torch import Tensor

from .decoders.base import PLAIN
from .model import VisualTokenizer
from .numerics.exact import exact_batch, run_exactly
from .numerics.float32 import own_numerics
from .numerics.layout import memory_format, way_of
from .shapes import Pixels, Tokens


def placed(model: VisualTokenizer, device: torch.device) -> VisualTokenizer:
    """Move a model to a device, in the layout that is fastest there, in place."""
    with own_numerics(device):
        return model.to(device).to(memory_format=memory_format(device, way_of(model.dtype)))


def start_decoding(
    model: VisualTokenizer,
    device: torch.device,
    batch_size: int | None,
    tokens: Tokens,
    decoder: str = PLAIN,
    seed: int = 0,
) -> tuple[Pixels, Tensor]:
    """Begin to decode tokens `b q y x` in float32; return pixels in [-1, 1], and whether the output is finite.

    Both are on `device`, and the host has waited for none of them. An image is a pure function of its tokens and the seed.
    `batch_size` is that of a GPU, None its default. Raises ValueError when there is no such decoder.
    """

    def decode(batch: Tokens) -> tuple[Pixels, Tensor]:
        pixels = model.decode_latent(model.quantizer.codes_of(batch), decoder, seed)
        return pixels, pixels.isfinite().flatten(1).all(dim=1)

    size = exact_batch(batch_size, *(side * model.downsample for side in tokens.shape[2:]))
    pixels, is_finite = run_exactly(decode, tokens, device, size)
    with own_numerics(device):
        return pixels.clamp(-1, 1), is_finite.all()
