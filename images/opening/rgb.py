"""From an image of any mode to RGB."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from ..formats.source import Grey
from ..strips import by_strips
from .colour import Conversion, lab_to_srgb, to_srgb
from .greyscale import DEEP, grey_levels, to_eight_bits

Colour: TypeAlias = Literal["srgb", "ignore"]
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings an image of an EXIF orientation upright."""
GREYS = ("1", "L", "LA", "La", *DEEP)


def to_rgb(
    image: Image.Image,
    background: tuple[int, int, int],
    profile: bytes | None = None,
    key: tuple[int, ...] = (),
    grey: Grey = Grey(),  # noqa: B008
) -> Image.Image:
    """Return an image of any mode as RGB: 8 bits, colours by its ICC profile, transparency blended over `background`.

    `key` is the value of 16 bits that is transparent. Raises ImageError when black and white cannot be known.
    """
    space = "GRAY" if image.mode in GREYS else "CMYK" if image.mode == "CMYK" else "RGB"
    conversion = to_srgb(profile, space)
    if image.mode == "RGB" and not conversion and not image.has_transparency_data:
        return image
    levels = _deep_levels(image, key, grey) if image.mode in DEEP else None

    def convert(strip: Image.Image) -> Image.Image:
        return _over(_layer(levels(strip) if levels else strip, conversion), background)

    return by_strips(image, convert)


def _deep_levels(image: Image.Image, key: tuple[int, ...], meant: Grey) -> Callable[[Image.Image], Image.Image]:
    """Return what brings the strips of deep grey to L, or to LA where a value is transparent."""
    levels = grey_levels(image, meant)

    def convert(strip: Image.Image) -> Image.Image:
        grey = to_eight_bits(strip, levels)
        if key:
            alpha = np.where(np.asarray(strip) == key[0], 0, 255).astype(np.uint8)
            grey.putalpha(Image.fromarray(alpha))
        return grey

    return convert


def _layer(image: Image.Image, conversion: Conversion | None) -> Image.Image:
    """Return an image of 8 bits as RGB, or as RGBA when it has transparency, its colours converted."""
    if image.mode == "LAB":
        return lab_to_srgb(image)
    if image.mode == "La":
        image = image.convert("LA")  # the only mode that Pillow brings it to
    if image.mode == "CMYK" and conversion:
        return conversion(image)
    layer = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return conversion(layer) if conversion else layer


def _over(layer: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    if layer.mode == "RGB":
        return layer
    base = Image.new("RGBA", layer.size, (*background, 255))
    return Image.alpha_composite(base, layer).convert("RGB")
