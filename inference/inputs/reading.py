"""From a sample to pixels, or to the reason why there are none."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ...images.opening.open_image import ImageError
from ...images.preprocessing import load_pixels
from ...tokenizer.preprocessing import PreprocessingConfig
from .input_files import UnreadableInputError, sha256_of, unreadable
from .samples import Failure, Sample

Grid: TypeAlias = Callable[[int, int], tuple[int, int]]
"""Returns the grid of the tokens of an image of `height x width`; raises ValueError for sizes that have none."""


class ReadImage(NamedTuple):
    """An image ready for the encoder."""

    sample: Sample
    pixels: np.ndarray
    """uint8 `h w c`, preprocessed."""
    metadata: dict[str, Any]
    """As `TokenSample` has it."""


class Unusable(NamedTuple):
    """An image that cannot be used, now or later."""

    row: Failure
    sha256: str
    """SHA-256 of the file; empty where there is no file."""


ReadResult: TypeAlias = ReadImage | Unusable | UnreadableInputError


def read_image(
    sample: Sample, config: PreprocessingConfig, multiple: int, grid: Grid | None = None
) -> ReadImage | Unusable:
    """Read and preprocess one image; whatever is wrong with it becomes a row, such as a size that `grid` refuses.

    Raises UnreadableInputError when its bytes cannot be read, or the memory is too small.
    """
    sha256 = ""
    try:
        if sample.entry is None:
            raise ImageError(sample.problem)
        with sample.entry.open() as file:
            sha256 = sha256_of(file)
            loaded = load_pixels(file, config, multiple)
        size = {"width": loaded.width, "height": loaded.height}
        image = ReadImage(sample, loaded.pixels, {"source": sample.source, **size, "sha256": sha256})
        return with_grid(image, grid) if grid else image
    except ImageError as error:
        return Unusable(Failure(sample.key, sample.source, str(error)), sha256)
    except (OSError, MemoryError) as error:
        raise unreadable(sample.source, error) from None


def with_grid(image: ReadImage, grid: Grid) -> ReadImage | Unusable:
    """Return an image, or a row when `grid` refuses its size."""
    sample, metadata = image.sample, image.metadata
    try:
        grid(metadata["height"], metadata["width"])
    except ValueError as error:
        return Unusable(Failure(sample.key, sample.source, str(error)), metadata["sha256"])
    return image
