"""The functions from pixels to tokens and back that measurements call: those of `vistok.load`, image by image."""

from collections.abc import Callable
from typing import TypeAlias

from ..tokenizer.decoders.base import PLAIN
from ..tokenizer.exact_model import start_decoding
from ..tokenizer.model import VisualTokenizer
from ..tokenizer.numerics.exact import exact_batch, run_exactly
from ..tokenizer.numerics.layout import memory_format, way_of
from ..tokenizer.shapes import Pixels, Tokens

Encode: TypeAlias = Callable[[Pixels], Tokens]
Decode: TypeAlias = Callable[[Tokens, int], Pixels]
"""From tokens `b q y x` and a seed to pixels in [-1, 1], clamped or not."""


def exact_encoder(model: VisualTokenizer) -> Encode:
    """Return the function from pixels `b c h w` to their exact tokens, which do not depend on the images of the batch.

    Pixels may be on any device; tokens are on that of the model.
    """
    device = next(model.parameters()).device
    layout = memory_format(device, way_of(model.dtype))

    def network(batch: Pixels) -> tuple[Tokens]:
        return (model.encode(batch.contiguous(memory_format=layout)),)

    def encode(pixels: Pixels) -> Tokens:
        (tokens,) = run_exactly(network, pixels, device, exact_batch(None, *pixels.shape[2:]))
        return tokens

    return encode


def exact_decoder(model: VisualTokenizer, decoder: str = PLAIN) -> Decode:
    """Return the function from tokens and a seed to the pixels that `Tokenizer.decode` makes of them, from -1 to 1.

    It is equal in every bit if the model is laid out by `placed`. Tokens may be on any device; pixels are on that of the
    model. The function raises ValueError when there is no such decoder.
    """
    device = next(model.parameters()).device

    def decode(tokens: Tokens, seed: int) -> Pixels:
        pixels, _ = start_decoding(model, device, None, tokens, decoder, seed)
        return pixels

    return decode
