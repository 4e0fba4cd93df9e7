"""Convert an image of any mode to RGB."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from ..formats.decoder_input import Grey
from ..row_strips import by_strips
from .deep_grey import DEEP, resolve_white, to_eight_bits
from .icc_profile import Conversion, lab_to_srgb, to_srgb

Colour: TypeAlias = Literal["srgb", "ignore"]
GREYS = ("1", "L", "LA", "La", *DEEP)


def to_rgb(
    image: Image.Image,
    background: tuple[int, int, int],
    profile: bytes | None = None,
    transparent: tuple[int, ...] = (),
    grey: Grey = Grey(),  # noqa: B008
) -> Image.Image:
    """Return an image of any mode as 8-bit RGB, its ICC profile applied, transparency blended over `background`.

    `transparent` holds the transparent value of 16-bit grey. Raises ImageError when the values of black and white are unknown.
    """
    space = "GRAY" if image.mode in GREYS else "CMYK" if image.mode == "CMYK" else "RGB"
    conversion = to_srgb(profile, space)
    if image.mode == "RGB" and not conversion and not image.has_transparency_data:
        return image
    reduce = _deep_to_8_bits(image, transparent, grey) if image.mode in DEEP else None

    def convert(strip: Image.Image) -> Image.Image:
        return _over(_layer(reduce(strip) if reduce else strip, conversion), background)

    return by_strips(image, convert)


def _deep_to_8_bits(
    image: Image.Image, transparent: tuple[int, ...], grey: Grey
) -> Callable[[Image.Image], Image.Image]:
    """Return the conversion of strips of deep grey to L, or to LA when a value is transparent."""
    levels = resolve_white(image, grey)

    def convert(strip: Image.Image) -> Image.Image:
        reduced = to_eight_bits(strip, levels)
        if transparent:
            alpha = np.where(np.asarray(strip) == transparent[0], 0, 255).astype(np.uint8)
            reduced.putalpha(Image.fromarray(alpha))
        return reduced

    return convert


def _layer(image: Image.Image, conversion: Conversion | None) -> Image.Image:
    """Return an 8-bit image as RGB, or as RGBA when it has transparency, its colours converted."""
    if image.mode == "LAB":
        return lab_to_srgb()(image)
    if image.mode == "La":
        image = image.convert("LA")  # the only mode that Pillow converts it to
    if image.mode == "CMYK" and conversion:
        return conversion(image)
    layer = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return conversion(layer) if conversion else layer


def _over(layer: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    if layer.mode == "RGB":
        return layer
    base = Image.new("RGBA", layer.size, (*background, 255))
    return Image.alpha_composite(base, layer).convert("RGB")
