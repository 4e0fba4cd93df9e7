"""From a planned sample to pixels, or to the reason why there are none."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

import numpy as np

from ...images.opening.open_image import ImageError
from ...images.preprocessing import load_pixels
from ...tokenizer.preprocessing import PreprocessingConfig
from .digests import sha256_of
from .plan import Plan
from .samples import Failure, Sample
from .unreadable import UnreadableInputError, unreadable


class ReadImage(NamedTuple):
    """An image as the encoder takes it."""

    sample: Sample
    pixels: np.ndarray
    """uint8 `h w c`, preprocessed."""
    width: int
    height: int
    sha256: str
    """SHA-256 of the file's bytes."""


class Unusable(NamedTuple):
    """An image that cannot be used, whoever reads it."""

    row: Failure
    sha256: str
    """SHA-256 of the file's bytes; empty where there is no file."""


def read_image(sample: Sample, config: PreprocessingConfig, multiple: int) -> ReadImage | Unusable:
    """Read and preprocess one image; whatever is wrong with it becomes a row.

    Raises UnreadableInputError when its bytes cannot be read now, or the memory is too small.
    """
    if sample.entry is None:
        return Unusable(failure(sample, sample.problem), "")
    sha256 = ""
    try:
        with sample.entry.open() as file:
            sha256 = sha256_of(file)
            loaded = load_pixels(file, config, multiple)
        return ReadImage(sample, loaded.pixels, loaded.width, loaded.height, sha256)
    except ImageError as error:
        return Unusable(failure(sample, str(error)), sha256)
    except (OSError, MemoryError) as error:
        raise unreadable(sample.source, error) from None


def failure(sample: Sample, reason: str) -> Failure:
    """Return the row of a sample that could not be used."""
    return Failure(key=sample.key, source=sample.source, reason=reason)


def first_images(plan: Plan, config: PreprocessingConfig, multiple: int, count: int) -> list[ReadImage]:
    """Return the first `count` images of a plan that can be used, damaged shards left out."""
    return list(islice(_usable(_listed_samples(plan), config, multiple), count))


def _usable(samples: Iterable[Sample], config: PreprocessingConfig, multiple: int) -> Iterator[ReadImage]:
    for sample in samples:
        with suppress(UnreadableInputError):
            read = read_image(sample, config, multiple)
            if isinstance(read, ReadImage):
                yield read


def _listed_samples(plan: Plan) -> Iterator[Sample]:
    for shard in plan.shards:
        try:
            samples = shard.samples()
        except (ValueError, OSError):
            continue
        yield from samples
