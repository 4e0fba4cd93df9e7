"""Convert an image of any mode to RGB; grey of 16 bits, 32 bits or floats is reduced to 8 bits."""

from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from ..formats.decoder_input import Grey, ImageError
from ..row_strips import by_strips, strips
from .icc_profile import Conversion, lab_to_srgb, to_srgb

Colour: TypeAlias = Literal["srgb", "ignore"]
Blending: TypeAlias = Literal["rounded", "truncated"]
DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
"""Pillow's modes of grey beyond 8 bits."""
GREYS = ("1", "L", "LA", "La", *DEEP)
MAX_8_BITS, MAX_16_BITS = 255, 65535
FLOAT_MIN = -256
FLOAT_MAX = (16, 511)
"""Range of the maximum of floats whose white is 255, which may overshoot; a lower maximum is ambiguous."""


def to_rgb(
    image: Image.Image,
    background: tuple[int, int, int],
    profile: bytes | None,
    transparent: tuple[int, ...],
    grey: Grey,
    blending: Blending = "rounded",
) -> Image.Image:
    """Return an image of any mode as 8-bit RGB, its ICC profile applied, transparency blended over `background`.

    `transparent` holds the transparent value of 16-bit grey. Raises ImageError when the values of black and white are unknown.
    """
    space = "GRAY" if image.mode in GREYS else "CMYK" if image.mode == "CMYK" else "RGB"
    conversion = to_srgb(profile, space)
    if image.mode == "RGB" and not conversion and not image.has_transparency_data:
        return image
    levels = _resolve_white(image, grey) if image.mode in DEEP else None

    def convert(strip: Image.Image) -> Image.Image:
        eight_bits = _to_eight_bits(strip, levels, transparent) if levels else strip
        return _over(_layer(eight_bits, conversion), background, blending)

    return by_strips(convert, image)


def _resolve_white(image: Image.Image, given: Grey) -> Grey:
    """Return which value is white: the one given, else 65535 for integers, and 1 or 255 for floats.

    Raises ImageError for ambiguous values: integers of 32 bits or with a sign, floats of another range.
    """
    if given.white is not None or image.mode.startswith("I;16"):
        return Grey(given.white or MAX_16_BITS, given.inverted)
    extremes = [(values.min(), values.max()) for values in map(_finite, strips(image))]
    low, high = float(min(low for low, _ in extremes)), float(max(high for _, high in extremes))
    if image.mode == "I":
        # Old versions of Pillow open 16-bit PNG in this mode; in a TIFF it means 32 bits or a sign.
        if low < 0 or high > MAX_16_BITS or image.format == "TIFF":
            raise ImageError(
                f"grey values from {low:.0f} to {high:.0f}, of 32 bits or with a sign, where 16 bits without a sign can be read"
            )
        if 0 < high <= MAX_8_BITS:
            raise ImageError(
                f"grey values from {low:.0f} to {high:.0f} of mode I, which may be of 8 bits or of 16: convert it to L or I;16"
            )
        return Grey(MAX_16_BITS)
    if 0 <= low and high <= 1:
        return Grey(1, given.inverted)
    if FLOAT_MIN <= low and FLOAT_MAX[0] <= high <= FLOAT_MAX[1]:
        return Grey(255, given.inverted)
    raise ImageError(f"float grey values from {low:g} to {high:g}, where 0 to 1 or 0 to 255 can be read")


def _to_eight_bits(image: Image.Image, levels: Grey, transparent: tuple[int, ...]) -> Image.Image:
    """Return deep grey rounded to 8 bits: L, or LA when a value is transparent."""
    values, white = _finite(image), levels.white or MAX_16_BITS
    if image.mode == "F":
        scaled = np.clip(np.round(values * np.float32(255 / white)), 0, 255)
    else:
        scaled = (values.astype(np.int64).clip(0, white) * 255 + white // 2) // white
    reduced = Image.fromarray((255 - scaled if levels.inverted else scaled).astype(np.uint8))
    if transparent:
        reduced.putalpha(Image.fromarray(np.where(np.asarray(image) == transparent[0], 0, 255).astype(np.uint8)))
    return reduced


def _finite(strip: Image.Image) -> np.ndarray:
    return np.nan_to_num(np.asarray(strip))


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


def _over(layer: Image.Image, background: tuple[int, int, int], blending: Blending) -> Image.Image:
    if layer.mode == "RGB":
        return layer
    if blending == "truncated":
        values = np.asarray(layer)
        alpha = values[:, :, 3:] / 255
        return Image.fromarray(((1 - alpha) * background + alpha * values[:, :, :3]).astype(np.uint8))
    base = Image.new("RGBA", layer.size, (*background, 255))
    return Image.alpha_composite(base, layer).convert("RGB")
