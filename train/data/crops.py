"""Random crops of training images, a pure function of the seed and the position in the run, so that any run can resume."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...images.opening.open_image import open_image
from ...images.resizing import resize_short_side
from ...tokenizer.errors import WorkFailedError
from ...tokenizer.preprocessing import PreprocessingConfig
from .config import DataConfig
from .read_images import read_entry
from .sampling_order import Draw, SamplingOrder
from .source_images import SourceImages
from .unreadable_images import UnreadableImageError

ATTEMPTS = 100
"""Images of a source to try for one position."""
CACHE_BYTES = 4 << 30
"""Bytes (4 GiB) of images that one process caches at most: `data.cached_images` large photos could fill any memory."""
DEFAULTS = PreprocessingConfig()


class Crop(NamedTuple):
    """The crop at one position of a run."""

    pixels: Tensor
    """uint8 `h w c`."""
    unreadable: list[str]
    """Name and reason of each image that could not be read at this position."""


class TrainingCrops:
    """Crops by position; raises WorkFailedError if a whole source is unreadable, or if on_error is stop."""

    def __init__(
        self,
        config: DataConfig,
        seed: int,
        preprocessing: PreprocessingConfig = DEFAULTS,
        images: SourceImages | None = None,
    ):
        self.config = config
        self.preprocessing = preprocessing
        self.seed = seed
        images = images or SourceImages()
        self.sources = [images.of(source) for source in config.train]
        self.order = SamplingOrder([len(entries) for entries in self.sources], [s.weight for s in config.train], seed)
        self._cache = ImageCache(config.cached_images)

    def __getitem__(self, position: int) -> Crop:
        unreadable: list[str] = []
        draw = self.order.at(position)
        while True:
            try:
                return Crop(self._crop(position, draw), unreadable)
            except UnreadableImageError as error:
                self.config.unreadable_limit.check_first(error)
                unreadable.append(str(error))
            if len(unreadable) == ATTEMPTS:
                raise WorkFailedError(
                    f"{ATTEMPTS} images of {self.config.train[draw.source].where} in a row cannot be read; the last: "
                    f"{unreadable[-1]}: check that the folder or the disk is still there."
                )
            draw = self.order.replacement(position, len(unreadable))

    def _crop(self, position: int, draw: Draw) -> Tensor:
        generator = np.random.default_rng([self.seed, 2, position])
        sides = self.config.train[draw.source].short_sides or self.config.short_sides
        short_side = int(generator.choice(sides)) if sides else None
        pixels = self._cache.get((draw, short_side), lambda: self._read(draw, short_side))
        size = self.config.size
        top, left = (int(generator.integers(0, extent - size + 1)) for extent in pixels.shape[:2])
        crop = pixels[top : top + size, left : left + size]
        if self.config.flip and generator.random() < 0.5:
            crop = crop[:, ::-1]
        return torch.from_numpy(crop.copy())

    def _read(self, draw: Draw, short_side: int | None) -> np.ndarray:
        def resized(file: BinaryIO) -> np.ndarray:
            settings = self.preprocessing
            image = open_image(file, settings.background, settings.colour, settings.blending)
            target = max(short_side or min(image.size), self.config.size)
            return np.asarray(resize_short_side(image, target, "bicubic"))

        return read_entry(self.sources[draw.source][draw.image], resized)


class ImageCache:
    """Keeps the most recently used images, up to `max_images` and CACHE_BYTES."""

    def __init__(self, max_images: int):
        self._max_images = max_images
        self._images: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, read: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the image of a key, calling `read` if it is not cached."""
        if key in self._images:
            self._images.move_to_end(key)
            return self._images[key]
        image = read()
        self._images[key] = image
        self._bytes += image.nbytes
        while self._images and (len(self._images) > self._max_images or self._bytes > CACHE_BYTES):
            self._bytes -= self._images.popitem(last=False)[1].nbytes
        return image
