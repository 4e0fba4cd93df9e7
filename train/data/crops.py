"""Crops to train on, by position.

Which image, crop and flip stands at position p of a run is a pure function of the seed and p. So a run can be taken up at
any step, with any number of workers or processes, and sees exactly what it would have seen. An image that cannot be read
has a replacement that is a function of the seed, p and the number of the attempt.
"""

from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...images.opening.open_image import open_image
from ...images.preprocessing import resize_short_side
from ...tokenizer.errors import WorkFailedError
from ...tokenizer.preprocessing import PreprocessingConfig
from .image_cache import ImageCache
from .listing import Listing
from .mixture import Mixture, Place
from .reading import UnreadableImageError, read_entry, stopped_at
from .sources import DataConfig

ATTEMPTS = 100
"""Images of a source that are tried for one position."""
DEFAULTS = PreprocessingConfig()


class Crop(NamedTuple):
    """What stands at one position of a run."""

    pixels: Tensor
    """uint8 `h w c`."""
    unreadable: list[str]
    """Of each image that could not be read in its place, the name and why."""


class TrainingCrops(Dataset[Crop]):
    """Crops by position; raises WorkFailedError where a whole source cannot be read, or where the config says stop."""

    def __init__(
        self,
        config: DataConfig,
        seed: int,
        preprocessing: PreprocessingConfig = DEFAULTS,
        listing: Listing | None = None,
    ):
        self.config = config
        self.preprocessing = preprocessing
        self.seed = seed
        listing = listing or Listing()
        self.sources = [listing.images(source) for source in config.train]
        self._cache = ImageCache(config.cached_images)
        self.mixture = Mixture([len(entries) for entries in self.sources], [s.weight for s in config.train], seed)

    def __getitem__(self, position: int) -> Crop:
        unreadable: list[str] = []
        while True:
            place = self._place(position, len(unreadable))
            try:
                return Crop(self._crop(position, place), unreadable)
            except UnreadableImageError as error:
                if self.config.on_error == "stop":
                    raise stopped_at(error) from None
                unreadable.append(str(error))
            if len(unreadable) == ATTEMPTS:
                raise WorkFailedError(
                    f"{ATTEMPTS} images of {self.config.train[place.source].where} in a row cannot be read; the last: "
                    f"{unreadable[-1]}: look whether the folder or the disk is still there."
                )

    def _place(self, position: int, attempt: int) -> Place:
        place = self.mixture.place(position)
        if attempt == 0:
            return place
        generator = np.random.default_rng([self.seed, 3, position, attempt])
        return Place(place.source, int(generator.integers(len(self.sources[place.source]))))

    def _crop(self, position: int, place: Place) -> Tensor:
        generator = np.random.default_rng([self.seed, 2, position])
        sides = self.config.train[place.source].short_sides or self.config.short_sides
        short_side = int(generator.choice(sides)) if sides else None
        key = place.source, place.image, short_side
        pixels = self._cache.get(key, lambda: self._read(*key))
        size = self.config.size
        top, left = (int(generator.integers(0, extent - size + 1)) for extent in pixels.shape[:2])
        crop = pixels[top : top + size, left : left + size]
        if self.config.flip and generator.random() < 0.5:
            crop = crop[:, ::-1]
        return torch.from_numpy(crop.copy())

    def _read(self, source: int, number: int, short_side: int | None) -> np.ndarray:
        def resized(file: BinaryIO) -> np.ndarray:
            image = open_image(file, self.preprocessing.background, self.preprocessing.colour)
            target = max(short_side or min(image.size), self.config.size)
            return np.asarray(resize_short_side(image, target, "bicubic"))

        return read_entry(self.sources[source][number], resized)
