"""From images that were read to their tokens."""

import numpy as np

from ...images.preprocessing import stack_pixels
from ..arithmetic import Encode
from ..inputs.reading import ReadImage
from ..inputs.unreadable import UnreadableInputError
from ..token_shards.manifest import Manifest
from ..token_shards.webdataset_format import TokenSample, token_dtype


def encode_images(images: list[ReadImage], encode: Encode, manifest: Manifest) -> list[TokenSample]:
    """Return the tokens of images of one size, in their order.

    When the memory is too small, images in their native size are tried one by one. Raises UnreadableInputError for one that
    is too large by itself; where all images have one size it is no image's fault, and the error passes.
    """
    if not images:
        return []
    grids = _grids(images, encode, manifest)
    if grids is not None:
        return [_sample(image, grid) for image, grid in zip(images, grids, strict=True)]
    if len(images) > 1:
        return [sample for image in images for sample in encode_images([image], encode, manifest)]
    (image,) = images
    raise UnreadableInputError(
        f"{image.sample.source}: the memory is too small for {image.width} x {image.height} pixels"
    )


def _sample(image: ReadImage, tokens: np.ndarray) -> TokenSample:
    sample = image.sample
    facts = {"source": sample.source, "width": image.width, "height": image.height, "sha256": image.sha256}
    return TokenSample(sample.key, tokens, facts, sample.kept)


def _grids(images: list[ReadImage], encode: Encode, manifest: Manifest) -> np.ndarray | None:
    """Return the tokens `b q y x`, or None when the memory is too small for them."""
    try:
        tokens = encode(stack_pixels([image.pixels for image in images]))
    except (MemoryError, RuntimeError) as error:
        if manifest.preprocessing.size == "native" and _out_of_memory(error):
            return None
        raise
    return tokens.cpu().numpy().astype(token_dtype(manifest.vocab_size))


def _out_of_memory(error: Exception) -> bool:
    # torch has a class of its own for a GPU's memory alone.
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "allocate memory" in said
