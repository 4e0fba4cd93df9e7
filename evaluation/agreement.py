"""Do the tokens of an image come back when its reconstruction is tokenized again?"""

from jaxtyping import Float
from torch import Tensor

from ..tokenizer.shapes import Tokens


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
