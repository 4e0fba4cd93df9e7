"""From a planned sample to pixels, or to the reason why there are none."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from ..images.opening import PictureError, open_picture
from ..images.preprocessing import preprocess
from ..tokenizer.preprocessing import PreprocessingConfig
from .plan import Plan, Sample
from .shards import Failure


class ReadPicture(NamedTuple):
    """A picture as the encoder takes it."""

    sample: Sample
    pixels: np.ndarray
    """uint8 `h w c`, preprocessed."""
    width: int
    height: int


def read_picture(sample: Sample, config: PreprocessingConfig, multiple: int) -> ReadPicture | Failure:
    """Read and preprocess one picture; whatever is wrong with it becomes a Failure."""
    try:
        if sample.entry is None:
            raise PictureError(sample.problem)
        image = open_picture(sample.entry.read(), config.background)
        return ReadPicture(sample, preprocess(image, config, multiple), *image.size)
    except PictureError as error:
        return failure(sample, str(error))
    except MemoryError:
        return failure(sample, "the memory is too small for it")


def failure(sample: Sample, reason: str) -> Failure:
    """Return the row of a sample that could not be used."""
    return Failure(key=sample.key, source=sample.source, reason=reason)


def without_failures(read: Iterable[ReadPicture | Failure], failed: list[Failure]) -> Iterator[ReadPicture]:
    """Pass on the pictures and append the failures to `failed`."""
    for picture in read:
        if isinstance(picture, ReadPicture):
            yield picture
        else:
            failed.append(picture)


def first_pictures(plan: Plan, config: PreprocessingConfig, multiple: int, count: int) -> list[ReadPicture]:
    """Return the first `count` pictures of a plan that can be read, damaged shards left out."""
    read = (read_picture(sample, config, multiple) for sample in _readable_samples(plan))
    return list(islice(without_failures(read, []), count))


def _readable_samples(plan: Plan) -> Iterator[Sample]:
    for shard in plan.shards:
        try:
            samples = shard.samples()
        except ValueError:
            continue
        yield from samples
