"""From images that were read to their tokens."""

import numpy as np

from ...images.preprocessing import stack_pixels
from ..arithmetic import Encode
from ..inputs.reading import ReadPicture
from ..inputs.unreadable import UnreadableInputError
from ..token_shards.manifest import Manifest
from ..token_shards.webdataset_format import TokenSample, token_dtype


def encode_pictures(pictures: list[ReadPicture], encode: Encode, manifest: Manifest) -> list[TokenSample]:
    """Return the tokens of images of one size, in their order.

    When the memory is too small, images in their native size are tried one by one. Raises UnreadableInputError for one that
    is too large by itself; where all images have one size it is no image's fault, and the error passes.
    """
    if not pictures:
        return []
    grids = _grids(pictures, encode, manifest)
    if grids is not None:
        return [_sample(picture, grid) for picture, grid in zip(pictures, grids, strict=True)]
    if len(pictures) > 1:
        return [sample for picture in pictures for sample in encode_pictures([picture], encode, manifest)]
    (picture,) = pictures
    raise UnreadableInputError(
        f"{picture.sample.source}: the memory is too small for {picture.width} x {picture.height} pixels"
    )


def _sample(picture: ReadPicture, tokens: np.ndarray) -> TokenSample:
    sample = picture.sample
    facts = {"source": sample.source, "width": picture.width, "height": picture.height, "sha256": picture.sha256}
    return TokenSample(sample.key, tokens, facts, sample.kept)


def _grids(pictures: list[ReadPicture], encode: Encode, manifest: Manifest) -> np.ndarray | None:
    """Return the tokens `b q y x`, or None when the memory is too small for them."""
    try:
        tokens = encode(stack_pixels([picture.pixels for picture in pictures]))
    except (MemoryError, RuntimeError) as error:
        if manifest.preprocessing.size == "native" and _out_of_memory(error):
            return None
        raise
    return tokens.cpu().numpy().astype(token_dtype(manifest.vocab_size))


def _out_of_memory(error: Exception) -> bool:
    # torch has a class of its own for a GPU's memory alone.
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "allocate memory" in said
