"""Preprocess images: resize and crop or pad, and convert between uint8 and pixels in [-1, 1]."""

from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from ..tokenizer.preprocessing import PreprocessingConfig
from ..tokenizer.shapes import Pixels
from .opening.open_image import opened
from .row_strips import strips

MAX_ASPECT = 32
"""Images with a longer side are cropped to their middle before resizing, because most of them would be cut off anyway."""


class LoadedPixels(NamedTuple):
    """A preprocessed image, uint8 `h w c`, and the size of the upright original."""

    pixels: np.ndarray
    width: int
    height: int


def load_pixels(content: bytes | BinaryIO, config: PreprocessingConfig, multiple: int) -> LoadedPixels:
    """Open and preprocess an image within the process's memory budget for decoding.

    Raises ImageError when the image cannot be used; errors of reading the file pass through.
    """
    side = None if config.size == "native" else config.size
    with opened(content, config.background, config.colour, side) as (image, width, height):
        return LoadedPixels(preprocess(image, config, multiple), width, height)


def preprocess(image: Image.Image, config: PreprocessingConfig, multiple: int) -> np.ndarray:
    """Return an RGB image as uint8 `h w c`.

    With a size, the short side is resized to it and the centre square is cropped. Native images keep their size; the last row
    and column are repeated until height and width are multiples of `multiple`.
    """
    if config.size == "native":
        return _padded(image, multiple)
    resized = resize_short_side(image, config.size, config.resampling)
    left, top = ((extent - config.size) // 2 for extent in resized.size)
    return np.array(resized.crop((left, top, left + config.size, top + config.size)))


def _padded(image: Image.Image, multiple: int) -> np.ndarray:
    below, right = (-extent % multiple for extent in (image.height, image.width))
    pixels = np.empty((image.height + below, image.width + right, 3), np.uint8)
    top = 0
    for strip in strips(image):
        pixels[top : top + strip.height, : image.width] = np.asarray(strip)
        top += strip.height
    pixels[:, image.width :] = pixels[:, image.width - 1 : image.width]
    pixels[image.height :] = pixels[image.height - 1]
    return pixels


def resize_short_side(image: Image.Image, size: int, resampling: str) -> Image.Image:
    """Resize the short side to `size` pixels and the long side in proportion, rounded.

    The long side is cropped to 32 short sides first; otherwise a thin line could fill the memory.
    """
    short = min(image.size)
    if short == size:
        return image
    # Both ends lose the same, so that the centre stays.
    left, top = (max(0, (extent - short * MAX_ASPECT) // 2) for extent in image.size)
    if left or top:
        image = image.crop((left, top, image.width - left, image.height - top))
    width, height = (max(size, round(extent * size / short)) for extent in image.size)
    return image.resize((width, height), Image.Resampling[resampling.upper()])


def to_pixels(images: Tensor) -> Pixels:
    """Map uint8 `b h w c` in [0, 255] to float pixels `b c h w` in [-1, 1]."""
    return rearrange(images, "b h w c -> b c h w").float().div_(127.5).sub_(1)


def stack_pixels(images: Sequence[np.ndarray]) -> Pixels:
    """Map uint8 images `h w c` of one size to float pixels `b c h w` in [-1, 1], channels-last in memory."""
    pixels = np.empty((len(images), *images[0].shape), np.float32)
    for target, image in zip(pixels, images, strict=True):
        # One image at a time stays in the processor's cache.
        np.divide(image, np.float32(127.5), out=target)
        np.subtract(target, np.float32(1), out=target)
    return rearrange(torch.from_numpy(pixels), "b h w c -> b c h w")


def to_images(pixels: Pixels) -> list[Image.Image]:
    """Map pixels in [-1, 1] to RGB images, clamped and rounded to the nearest of 256 values."""
    bytes_ = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return [Image.fromarray(image) for image in rearrange(bytes_.cpu(), "b c h w -> b h w c").numpy()]
