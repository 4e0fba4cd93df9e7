"""From a sample to pixels, or to the reason why there are none."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

import numpy as np

from ...images.finding.index import DamagedShard
from ...images.opening.open_image import ImageError
from ...images.preprocessing import load_pixels
from ...tokenizer.preprocessing import PreprocessingConfig
from .input_files import UnreadableInputError, sha256_of, unreadable
from .plan import Plan
from .samples import Failure, Sample


class ReadImage(NamedTuple):
    """An image ready for the encoder."""

    sample: Sample
    pixels: np.ndarray
    """uint8 `h w c`, preprocessed."""
    width: int
    height: int
    sha256: str


class Unusable(NamedTuple):
    """An image that cannot be used, now or later."""

    row: Failure
    sha256: str
    """SHA-256 of the file; empty where there is no file."""


def read_image(sample: Sample, config: PreprocessingConfig, multiple: int) -> ReadImage | Unusable:
    """Read and preprocess one image; raise UnreadableInputError when its bytes cannot be read or the memory is too small."""
    if sample.entry is None:
        return Unusable(Failure(sample.key, sample.source, sample.problem), "")
    sha256 = ""
    try:
        with sample.entry.open() as file:
            sha256 = sha256_of(file)
            loaded = load_pixels(file, config, multiple)
        return ReadImage(sample, loaded.pixels, loaded.width, loaded.height, sha256)
    except ImageError as error:
        return Unusable(Failure(sample.key, sample.source, str(error)), sha256)
    except (OSError, MemoryError) as error:
        raise unreadable(sample.source, error) from None


def first_images(plan: Plan, config: PreprocessingConfig, multiple: int, count: int) -> list[ReadImage]:
    """Return the first `count` usable images of a plan, damaged shards left out."""
    return list(islice(_usable_images(plan, config, multiple), count))


def _usable_images(plan: Plan, config: PreprocessingConfig, multiple: int) -> Iterator[ReadImage]:
    for task in plan.shards:
        with suppress(DamagedShard, OSError):
            for sample in task.source.list_samples().samples:
                with suppress(UnreadableInputError):
                    read = read_image(sample, config, multiple)
                    if isinstance(read, ReadImage):
                        yield read
