"""Photos that an export is checked on: those of the user, or synthetic ones, since none ship with the package."""

import itertools
import os
from collections.abc import Sequence
from pathlib import PurePath
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ...images.finding.index import index_images
from ...images.opening.open_image import ImageError
from ...images.preprocessing import load_pixels, preprocess
from ...tokenizer.preprocessing import PreprocessingConfig
from ...tokenizer.wording import pluralize

MAX_PHOTOS = 16
SYNTHETIC = 4
LEAVES = 4000
SMALLEST, LARGEST = 3, 160
"""Radii of leaves in pixels."""


class CheckPhotos(NamedTuple):
    """Preprocessed photos, and what they are."""

    images: list[np.ndarray]
    """uint8 `h w c`."""
    description: str


def check_photos(data: Sequence[str], config: PreprocessingConfig, multiple: int) -> CheckPhotos:
    """Return the first images of DATA, or synthetic photos where it is empty.

    Raises ValueError when DATA holds no image or one cannot be used.
    """
    if not data:
        photos = [preprocess(dead_leaves(seed), config, multiple) for seed in range(SYNTHETIC)]
        return CheckPhotos(photos, f"{SYNTHETIC} synthetic photos")
    entries = itertools.islice((entry for path in data for entry in index_images(path)), MAX_PHOTOS)
    photos = []
    for entry in entries:
        try:
            with entry.open() as file:
                photos.append(load_pixels(file, config, multiple).pixels)
        except ImageError as error:
            raise ValueError(f"{entry.name} cannot be used: {error}.") from None
    names = ", ".join(PurePath(path).name + "/" * os.path.isdir(path) for path in data)
    return CheckPhotos(photos, f"{pluralize(len(photos), 'photo')} from {names}")


def dead_leaves(seed: int, height: int = 320, width: int = 400) -> Image.Image:
    """Return a synthetic photo: discs of one colour each that hide one another, their radii r with density r^-3.

    Edges, flat parts and spectrum are like those of photos (https://doi.org/10.1023/A:1011109015675), what they show is not.
    """
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (width, height), (128, 128, 128))
    draw = ImageDraw.Draw(image)
    uniform = random.random(LEAVES)
    radii = (LARGEST**-2 + uniform * (SMALLEST**-2 - LARGEST**-2)) ** -0.5
    centres = random.random((LEAVES, 2)) * (width, height)
    light = random.normal(110, 55, (LEAVES, 1)) + random.normal(0, 20, (LEAVES, 3))
    for radius, (x, y), colour in zip(radii, centres, light.clip(0, 255).round().astype(int).tolist(), strict=True):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tuple(colour))
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(0.7)), np.float64)
    return Image.fromarray((soft + random.normal(0, 2, soft.shape)).clip(0, 255).round().astype(np.uint8))
