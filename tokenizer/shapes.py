"""The names of axes, shared by annotations, einops patterns, docstrings and tests.

    b  batch            c    colour channel     h w  pixels
    d  latent channel   y x  latent grid        q    codebook (level or group)
    k  code             n    vectors, batch and grid flattened

`h w` and `y x` differ on purpose: the tests fail when pixels are passed for a latent.
"""

from typing import TypeAlias

from jaxtyping import Float, Int64, UInt8
from torch import Tensor

Pixels: TypeAlias = Float[Tensor, "b c h w"]
"""RGB in [-1, 1]."""

ImageBytes: TypeAlias = UInt8[Tensor, "b h w c"]
"""RGB in [0, 255], as image files have it."""

Images: TypeAlias = ImageBytes | Pixels
"""Images of one size in either form. Bytes are a quarter of the traffic to a GPU."""

Latent: TypeAlias = Float[Tensor, "b d y x"]

Tokens: TypeAlias = Int64[Tensor, "b q y x"]
"""Code indices in [0, vocab_size); `q` is present even when it is 1."""

Vectors: TypeAlias = Float[Tensor, "n d"]
Codes: TypeAlias = Float[Tensor, "k d"]
CodeIndices: TypeAlias = Int64[Tensor, " n"]
