"""Grey images of 16 bits, 32 bits or floats, reduced to 8 bits."""

import numpy as np
from PIL import Image

from ..formats.decoder_input import Grey, ImageError
from ..row_strips import strips

DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
"""Pillow's modes of grey beyond 8 bits."""
MAX_8_BITS, MAX_16_BITS = 255, 65535
FLOAT_MIN = -256
FLOAT_MAX = (16, 511)
"""Range of the maximum of floats whose white is 255, which may overshoot; a lower maximum is ambiguous."""


def resolve_white(image: Image.Image, given: Grey) -> Grey:
    """Return which value is white: the one given, else 65535 for integers, and 1 or 255 for floats.

    Raises ImageError for ambiguous values: integers of 32 bits or with a sign, floats of another range.
    """
    if given.white is not None or image.mode.startswith("I;16"):
        return Grey(given.white or MAX_16_BITS, given.inverted)
    low, high = _extremes(image)
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


def to_eight_bits(image: Image.Image, levels: Grey) -> Image.Image:
    """Return the image as 8-bit grey, rounded."""
    values, white = _finite(image), levels.white or MAX_16_BITS
    if image.mode == "F":
        scaled = np.clip(np.round(values * np.float32(255 / white)), 0, 255)
    else:
        scaled = (values.astype(np.int64).clip(0, white) * 255 + white // 2) // white
    return Image.fromarray((255 - scaled if levels.inverted else scaled).astype(np.uint8))


def _extremes(image: Image.Image) -> tuple[float, float]:
    found = [(float(values.min()), float(values.max())) for values in map(_finite, strips(image))]
    return min(low for low, _ in found), max(high for _, high in found)


def _finite(strip: Image.Image) -> np.ndarray:
    return np.nan_to_num(np.asarray(strip))
