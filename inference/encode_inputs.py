"""The inputs of `encode` and `decode`: images as paths, PIL images, arrays or tensors, and tokens."""

import os
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from ..images.file_entry import file_entry
from ..images.opening.open_image import ImageError, upright_rgb
from ..images.preprocessing import load_pixels, preprocess
from ..tokenizer.preprocessing import PreprocessingConfig
from ..tokenizer.shapes import Images

INTEGERS = {getattr(torch, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)}

ImageLike: TypeAlias = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor


def preprocessed(images: ImageLike | list[ImageLike], config: PreprocessingConfig, multiple: int) -> Iterator[Images]:
    """Yield each image that `Tokenizer.encode` takes, preprocessed, as a batch of one; raise ValueError for anything else.

    Float tensors become pixels in [-1, 1]; all others stay bytes.
    """
    listed = images if isinstance(images, list) else [images]
    if not listed:
        raise ValueError("encode got an empty list: give at least one image.")
    for image in listed:
        if isinstance(image, Tensor):
            yield from _tensor_images(image)
        elif isinstance(image, (str, os.PathLike)):
            yield torch.from_numpy(_loaded(os.fspath(image), config, multiple)).unsqueeze(0)
        else:
            yield torch.from_numpy(preprocess(_image(image, config), config, multiple)).unsqueeze(0)


def check_pixels(pixels: object) -> None:
    """Raise ValueError unless the pixels are a float tensor `b c h w` that is not empty."""
    if not isinstance(pixels, Tensor) or not pixels.is_floating_point() or pixels.ndim != 4 or not pixels.numel():
        shown = (
            f"{pixels.dtype} {tuple(pixels.shape)}"
            if isinstance(pixels, Tensor | np.ndarray)
            else type(pixels).__name__
        )
        raise ValueError(
            f"encode_pixels got {shown}, but takes a float tensor b c h w in [-1, 1]: convert it, or use encode."
        )
    _check_has_values("encode_pixels", pixels)


def integer_tokens(tokens: Tensor | np.ndarray) -> Tensor:
    """Return tokens that users hand to `decode` as int64; raise ValueError unless they are integers `b q y x`."""
    if not isinstance(tokens, (Tensor, np.ndarray)):
        raise ValueError(
            f"decode got a {type(tokens).__name__}, but takes a tensor or an array b q y x: use torch.stack or numpy.stack."
        )
    is_integer = tokens.dtype.kind in "iu" if isinstance(tokens, np.ndarray) else tokens.dtype in INTEGERS
    if tokens.ndim != 4 or 0 in tokens.shape or not is_integer:
        raise ValueError(
            f"decode got {tokens.dtype} {tuple(tokens.shape)}, but takes integers b q y x, as encode returns them."
        )
    if isinstance(tokens, np.ndarray):
        return torch.from_numpy(tokens.astype(np.int64))
    _check_has_values("decode", tokens)
    return tokens.detach().long()


def _check_has_values(caller: str, tensor: Tensor) -> None:
    if tensor.is_meta:
        raise ValueError(
            f"{caller} got a tensor on the meta device, which has a shape but no values: give one on the CPU or a GPU."
        )


def _loaded(path: str, config: PreprocessingConfig, multiple: int) -> np.ndarray:
    if not path:
        raise ValueError("encode got an empty path: give the path of an image.")
    try:
        with file_entry(path, path).open() as file:
            return load_pixels(file, config, multiple).pixels
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): give the path of an image.") from None
    except ImageError as error:
        raise ValueError(f"{path} cannot be used: {error}.") from None
    except ValueError as error:  # raised by Python for a path with a zero byte
        raise ValueError(f"{path!r} cannot be read ({error}): give the path of an image.") from None


def _image(image: Image.Image | np.ndarray, config: PreprocessingConfig) -> Image.Image:
    if isinstance(image, Image.Image):
        try:
            return upright_rgb(image, config.background, config.colour, config.blending)
        except ImageError as error:
            raise ValueError(f"encode got a PIL image that cannot be used: {error}.") from None
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(
                f"encode got an array of {image.dtype} {image.shape}, but takes uint8 h w 3 in [0, 255] with at least one "
                "pixel: convert it."
            )
        return Image.fromarray(image)
    raise ValueError(
        f"encode got a value of type {type(image).__name__}, but takes a path, a PIL image, a uint8 array h w c, a tensor, "
        "or a list of them."
    )


def _tensor_images(tensor: Tensor) -> list[Images]:
    _check_has_values("encode", tensor)
    batch = (tensor.unsqueeze(0) if tensor.ndim == 3 else tensor).detach()
    if batch.ndim != 4 or batch.shape[1] != 3 or not batch.numel():
        raise ValueError(
            f"encode got a tensor of shape {tuple(tensor.shape)}, but takes 3 h w or b 3 h w with at least one pixel."
        )
    if batch.dtype == torch.uint8:
        return list(rearrange(batch, "b c h w -> b h w c").split(1))
    if not batch.is_floating_point():
        raise ValueError(f"encode got a tensor of {batch.dtype}, but takes uint8, or float in [0, 1].")
    low, high = (float(value) for value in torch.aminmax(batch))
    if not (low >= 0 and high <= 1):  # also refuses NaN
        raise ValueError(
            f"encode got a float tensor from {low:g} to {high:g}, but takes [0, 1]: divide by 255, or undo a normalisation."
        )
    return list((batch.float() * 2 - 1).split(1))
