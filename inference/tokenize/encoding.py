"""From pixels to tokens, and what happens when the memory is too small."""

import numpy as np

from ...images.preprocessing import stack_pixels
from ..arithmetic import Encode
from ..inputs.input_files import UnreadableInputError
from ..inputs.reading import ReadImage
from ..token_shards.manifest import Manifest
from ..token_shards.token_samples import CompanionFile, TokenSample, token_dtype


def encode_images(images: list[ReadImage], encode: Encode, manifest: Manifest) -> list[TokenSample]:
    """Return the tokens of images of one size, in their order.

    When the memory is too small, images of native size are tried one by one; UnreadableInputError names one that is too
    large by itself. With a fixed size no image is to blame, and the error passes.
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
    metadata = {"source": sample.source, "width": image.width, "height": image.height, "sha256": image.sha256}
    return TokenSample(sample.key, tokens, metadata, [CompanionFile(companion) for companion in sample.companions])


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
    # torch has an exception class for the memory of a GPU only.
    message = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in message or "allocate memory" in message
