"""From pictures that were read to their tokens, or to a row that says which one is too large."""

import numpy as np

from ..images.preprocessing import stack_pixels
from .forward import Encode
from .manifest import Manifest
from .reading import ReadPicture, failure
from .shards import Failure, TokenSample, token_dtype


def encode_pictures(pictures: list[ReadPicture], encode: Encode, manifest: Manifest) -> list[TokenSample | Failure]:
    """Return the tokens of pictures of one size, in their order.

    When the memory is too small, pictures in their native size are tried one by one, and one that is too large by itself
    becomes a Failure. Where all pictures have one size it is no picture's fault, and the error passes.
    """
    if not pictures:
        return []
    grids = _grids(pictures, encode, manifest)
    if grids is not None:
        return [
            TokenSample(
                picture.sample.key,
                grid,
                {"source": picture.sample.source, "width": picture.width, "height": picture.height},
            )
            for picture, grid in zip(pictures, grids, strict=True)
        ]
    if len(pictures) > 1:
        return [row for picture in pictures for row in encode_pictures([picture], encode, manifest)]
    (picture,) = pictures
    return [failure(picture.sample, f"the memory is too small for {picture.width} x {picture.height} pixels")]


def _grids(pictures: list[ReadPicture], encode: Encode, manifest: Manifest) -> np.ndarray | None:
    """Return the tokens `b q y x`, or None when the memory is too small for them."""
    try:
        tokens = encode(stack_pixels([picture.pixels for picture in pictures]))
    except (MemoryError, RuntimeError) as error:
        if manifest.preprocessing.size == "native" and _out_of_memory(error):
            return None
        raise
    return tokens.numpy().astype(token_dtype(manifest.vocab_size))


def _out_of_memory(error: Exception) -> bool:
    # torch has a class of its own for a GPU's memory alone.
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "allocate memory" in said
