"""From an RGB image to the pixels that a tokenizer takes."""

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from ..tokenizer.preprocessing import PreprocessingConfig
from ..tokenizer.shapes import Pixels

FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}


def preprocess(image: Image.Image, config: PreprocessingConfig, multiple: int) -> np.ndarray:
    """Return an RGB image as uint8 `h w c`.

    With a size: short side resized to it, centre square kept. Native: as it is, the last row and column repeated until
    height and width are multiples of `multiple`.
    """
    if config.size == "native":
        pixels = np.asarray(image)
        below, right = (-extent % multiple for extent in pixels.shape[:2])
        return np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="edge")
    resized = np.asarray(resize_short_side(image, config.size, config.resampling))
    top, left = ((extent - config.size) // 2 for extent in resized.shape[:2])
    return resized[top : top + config.size, left : left + config.size]


def resize_short_side(image: Image.Image, size: int, resampling: str) -> Image.Image:
    """Resize so that the short side is `size` pixels, the long side in proportion and rounded."""
    short = min(image.size)
    if short == size:
        return image
    width, height = (max(size, round(extent * size / short)) for extent in image.size)
    return image.resize((width, height), FILTERS[resampling])


def to_pixels(pictures: Tensor) -> Pixels:
    """Map uint8 `b h w c` in [0, 255] to float pixels `b c h w` in [-1, 1]."""
    return rearrange(pictures, "b h w c -> b c h w").float().div_(127.5).sub_(1)


def to_images(pixels: Pixels) -> list[Image.Image]:
    """Map pixels in [-1, 1] to RGB images, rounded to the nearest of 256 values."""
    bytes_ = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return [Image.fromarray(picture) for picture in rearrange(bytes_.cpu(), "b c h w -> b h w c").numpy()]
