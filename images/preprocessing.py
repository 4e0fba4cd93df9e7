"""Preprocess images: resize and crop or pad, and convert between uint8 and pixels in [-1, 1]."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
from einops import rearrange
from PIL import Image

from ..tokenizer.preprocessing import PreprocessingConfig
from .opening.open_image import opened
from .resizing import cut, resize, resized_to_square
from .row_strips import strips
from .sizes import area_margins, network_size, original_box

if TYPE_CHECKING:  # a process that reads images starts without torch
    from torch import Tensor

    from ..tokenizer.shapes import Pixels

BYTES_PER_PIXEL = 16
"""Peak memory of a resize that enlarges: two images of Pillow with sides rounded up, and their bytes."""


class LoadedPixels(NamedTuple):
    """A preprocessed image, uint8 `h w c`, and the size of the upright original."""

    pixels: np.ndarray
    width: int
    height: int


def load_pixels(content: bytes | BinaryIO, config: PreprocessingConfig, multiple: int) -> LoadedPixels:
    """Open and preprocess an image within the process's memory budget for decoding.

    Raises ImageError when the image cannot be used; errors of reading the file pass through.
    """
    colours = config.background, config.colour, config.blending
    with opened(content, *colours, side=_smallest(config), more_bytes=_bytes(config)) as (image, width, height):
        return LoadedPixels(preprocess(image, config, multiple), width, height)


def preprocess(image: Image.Image, config: PreprocessingConfig, multiple: int) -> np.ndarray:
    """Return an RGB image as uint8 `h w c`, in the size that `network_size` promises.

    `multiple` is the downsampling: sides of native images and of an area are multiples of it.
    """
    if config.side:
        return np.array(resized_to_square(image, config))
    height, width = network_size(config, image.height, image.width, multiple)
    if config.area:
        margins = area_margins(config.area, image.height, image.width, math.lcm(config.multiple, multiple))
        return np.array(resize(cut(image, *margins), width, height, config.resampling))
    if config.fit == "shrink":
        return np.array(resize(image, width, height, config.resampling))
    return _padded(image, config, multiple)


def _smallest(config: PreprocessingConfig) -> int | None:
    """Return the short side of the resize where a very large JPEG may be decoded smaller than it is, else None.

    That changes pixels a little, so it is only for the resize that vistok's own tokenizers are trained with.
    """
    common = {"size", "background", "colour", "resampling"}
    is_own = config.resampling != "linear" and not config.model_dump(exclude=common, exclude_defaults=True)
    return config.side if is_own else None


def _bytes(config: PreprocessingConfig) -> int:
    """Return the bytes that a resize to an area may take, however small the image is."""
    return BYTES_PER_PIXEL * config.area[1] ** 2 if config.area else 0


def _padded(image: Image.Image, config: PreprocessingConfig, multiple: int) -> np.ndarray:
    height, width = network_size(config, image.height, image.width, multiple)
    box = original_box(config, image.height, image.width, multiple)
    assert box
    left, top, right, bottom = box
    pixels = np.empty((height, width, 3), np.uint8)
    if config.fit == "surround":
        pixels[:] = config.background
    row = top
    for strip in strips(image):
        pixels[row : row + strip.height, left:right] = np.asarray(strip)
        row += strip.height
    if config.fit == "repeat":
        pixels[:, right:] = pixels[:, right - 1 : right]
        pixels[bottom:] = pixels[bottom - 1]
    return pixels


def to_pixels(images: "Tensor") -> "Pixels":
    """Map uint8 `b h w c` in [0, 255] to float pixels `b c h w` in [-1, 1]."""
    return rearrange(images, "b h w c -> b c h w").float().div_(127.5).sub_(1)


def stack_pixels(images: Sequence[np.ndarray]) -> "Pixels":
    """Map uint8 images `h w c` of one size to float pixels `b c h w` in [-1, 1], channels-last in memory."""
    import torch

    pixels = np.empty((len(images), *images[0].shape), np.float32)
    for target, image in zip(pixels, images, strict=True):
        # One image at a time stays in the processor's cache.
        np.divide(image, np.float32(127.5), out=target)
        np.subtract(target, np.float32(1), out=target)
    return rearrange(torch.from_numpy(pixels), "b h w c -> b c h w")


def to_images(pixels: "Pixels") -> list[Image.Image]:
    """Map pixels in [-1, 1] to RGB images, clamped and rounded to the nearest of 256 values."""
    return [Image.fromarray(image) for image in to_bytes(pixels).cpu().numpy()]


def to_bytes(pixels: "Pixels") -> "Tensor":
    """Map pixels in [-1, 1] to uint8 `b h w c`, clamped and rounded, on their device."""
    rounded = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().byte()
    return rearrange(rounded, "b c h w -> b h w c").contiguous()
