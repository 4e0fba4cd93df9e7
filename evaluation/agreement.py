"""Do the tokens of an image come back when its reconstruction is tokenized again?"""

from collections.abc import Callable
from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor

from ..tokenizer.model import VisualTokenizer
from ..tokenizer.numerics.exact import exact_batch, run_exactly
from ..tokenizer.numerics.layout import memory_format, way_of
from ..tokenizer.shapes import Pixels, Tokens

Encode: TypeAlias = Callable[[Pixels], Tokens]


def equal_fraction(tokens: Tokens, others: Tokens) -> Float[Tensor, " b"]:
    """Return the fraction of the tokens of each image that are equal, over all codebooks and positions, in float32.

    For `tokens = encode(x)` and `others = encode(decode(tokens))` it says how much of what a language model wrote is still
    there when its image is read again. Both may be on different devices; the answer is on that of `tokens`. Raises ValueError
    when the shapes differ.
    """
    if tokens.shape != others.shape:
        shapes = f"{tuple(tokens.shape)} and {tuple(others.shape)}"
        raise ValueError(f"Tokens of shapes {shapes} cannot be compared: decode and encode at one size.")
    return (tokens == others.to(tokens.device)).flatten(1).float().mean(dim=1)


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
