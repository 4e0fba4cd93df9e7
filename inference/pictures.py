"""What users hand to `encode`: paths, PIL images, arrays, tensors, or lists of them."""

import os
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from ..images.opening import PictureError, open_picture, upright_rgb
from ..images.preprocessing import preprocess, stack_pixels, to_pixels
from ..tokenizer.preprocessing import PreprocessingConfig
from ..tokenizer.shapes import Pixels

Picture: TypeAlias = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor


def pictures_to_pixels(pictures: Picture | list[Picture], config: PreprocessingConfig, multiple: int) -> list[Pixels]:
    """Return the pixels of each picture, each `1 c h w` in [-1, 1].

    Paths, PIL images and arrays `h w c` (uint8) are preprocessed; tensors `c h w` or `b c h w` (uint8, or float in
    [0, 1]) are taken as they are. Raises ValueError for anything else.
    """
    listed = pictures if isinstance(pictures, list) else [pictures]
    if not listed:
        raise ValueError("encode got an empty list: give at least one picture.")
    return [pixels for picture in listed for pixels in _pixels(picture, config, multiple)]


def _pixels(picture: Picture, config: PreprocessingConfig, multiple: int) -> list[Pixels]:
    if isinstance(picture, Tensor):
        return _tensor_pixels(picture)
    return [stack_pixels([preprocess(_image(picture, config.background), config, multiple)])]


def _image(picture: Picture, background: tuple[int, int, int]) -> Image.Image:
    if isinstance(picture, Image.Image):
        try:
            return upright_rgb(picture, background)
        except PictureError as error:
            raise ValueError(f"encode got a PIL image that cannot be used: {error}.") from None
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            raise ValueError(
                f"encode got an array of {picture.dtype} {picture.shape}, but takes uint8 h w 3 in [0, 255] with a pixel at "
                "least: convert it."
            )
        return Image.fromarray(picture)
    if isinstance(picture, (str, os.PathLike)):
        try:
            return open_picture(Path(picture).read_bytes(), background)
        except OSError as error:
            raise ValueError(f"{picture} cannot be read ({error.strerror}): give the path of a picture.") from None
        except PictureError as error:
            raise ValueError(f"{picture} cannot be used: {error}.") from None
    raise ValueError(
        f"encode got a {type(picture).__name__}, but takes a path, a PIL image, a uint8 array h w c, a tensor, or a list "
        "of them."
    )


def _tensor_pixels(tensor: Tensor) -> list[Pixels]:
    batch = (tensor.unsqueeze(0) if tensor.ndim == 3 else tensor).detach()
    if batch.ndim != 4 or batch.shape[1] != 3 or not batch.numel():
        raise ValueError(
            f"encode got a tensor of shape {tuple(tensor.shape)}, but takes 3 h w or b 3 h w with a pixel at least."
        )
    if batch.dtype == torch.uint8:
        return list(to_pixels(rearrange(batch, "b c h w -> b h w c")).split(1))
    if not batch.is_floating_point():
        raise ValueError(f"encode got a tensor of {batch.dtype}, but takes uint8, or float in [0, 1].")
    low, high = (float(value) for value in torch.aminmax(batch))
    if not (low >= 0 and high <= 1):  # also refuses NaN
        raise ValueError(
            f"encode got a float tensor from {low:g} to {high:g}, but takes [0, 1]: divide by 255, or undo a normalisation."
        )
    return list((batch.float() * 2 - 1).split(1))
