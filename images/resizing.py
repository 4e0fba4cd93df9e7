"""Resize images with the filters and the rounding of public tokenizers."""

import numpy as np
from PIL import Image

from ..tokenizer.preprocessing import PreprocessingConfig, Resampling
from .sizes import MAX_ASPECT, inner_size, margins

ONE = 1 << 11
"""A weight of 1 in OpenCV's fixed point."""


def resized_to_square(image: Image.Image, config: PreprocessingConfig) -> Image.Image:
    """Return the square of `config.side` pixels that `config.crop` keeps."""
    side = config.side
    assert side
    if config.crop == "none":
        return _surrounded_square(image, config, side)
    short = round(side * config.resize_ratio)
    if config.halve_first:
        image = _halved(image, short)
    image = resize_short_side(image, short, config.resampling, config.rounding == "down")
    excess = (extent - side for extent in image.size)
    left, top = (round(extent / 2) if config.crop == "even_centre" else extent // 2 for extent in excess)
    return image.crop((left, top, left + side, top + side))


def resize_short_side(
    image: Image.Image, size: int, resampling: Resampling, is_rounded_down: bool = False
) -> Image.Image:
    """Resize the short side to `size` pixels and the long side in proportion, rounded.

    The long side is cropped to 32 short sides first; otherwise a thin line could fill the memory.
    """
    short = min(image.size)
    if short == size:
        return image
    image = cut(image, *margins(image.height, image.width, MAX_ASPECT))
    sides = (extent * size / short for extent in image.size)
    width, height = (max(size, int(side) if is_rounded_down else round(side)) for side in sides)
    return resize(image, width, height, resampling)


def resize(image: Image.Image, width: int, height: int, resampling: Resampling) -> Image.Image:
    """Resize an RGB image; one of this size stays as it is."""
    if image.size == (width, height):
        return image
    if resampling == "linear":
        return Image.fromarray(_linear(np.asarray(image), width, height))
    return image.resize((width, height), Image.Resampling[resampling.upper()])


def cut(image: Image.Image, left: int, top: int) -> Image.Image:
    """Cut the same from both ends, so that the centre stays."""
    return image.crop((left, top, image.width - left, image.height - top)) if left or top else image


def _halved(image: Image.Image, short: int) -> Image.Image:
    while min(image.size) >= 2 * short:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    return image


def _surrounded_square(image: Image.Image, config: PreprocessingConfig, side: int) -> Image.Image:
    height, width = inner_size(config, image.height, image.width)
    square = Image.new("RGB", (side, side), config.background)
    square.paste(resize(image, width, height, config.resampling), ((side - width) // 2, (side - height) // 2))
    return square


def _linear(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Interpolate linearly between two rows and two columns, uint8 `h w c`, in the fixed point of OpenCV's INTER_LINEAR.

    https://github.com/opencv/opencv/blob/4.x/modules/imgproc/src/resize.cpp
    """
    (left, right), across = _neighbours(pixels.shape[1], width)
    (above, below), down = _neighbours(pixels.shape[0], height)
    total = np.full((height, width, pixels.shape[2]), 2, np.int32)
    for rows, weight in zip((above, below), down, strict=True):
        near = pixels[rows]
        line = near[:, left] * across[0][:, None] + near[:, right] * across[1][:, None]
        total += ((line >> 4) * weight[:, None, None]) >> 16
    return (total >> 2).astype(np.uint8)


def _neighbours(old: int, new: int) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return the indices of the two pixels around each new one along an axis, and their weights in fixed point."""
    position = ((np.arange(new) + 0.5) * (1 / (new / old)) - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int64)
    distance = position - first.astype(np.float32)
    weights = (np.rint((1 - distance) * np.float32(ONE)), np.rint(distance * np.float32(ONE)))
    indices = (first.clip(0, old - 1), (first + 1).clip(0, old - 1))
    return indices, (weights[0].astype(np.int32), weights[1].astype(np.int32))
