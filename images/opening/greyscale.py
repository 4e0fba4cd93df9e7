"""Grey of more than 8 bits, brought to 8."""

import numpy as np
from PIL import Image

from ..errors import ImageError
from ..formats.source import Grey
from ..strips import strips

DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
"""Pillow's modes of grey beyond 8 bits."""
LARGEST_8_BITS, LARGEST_16_BITS = 255, 65535
WHITE_OF_255 = (16, 511)
"""Largest values of floats of 255, which may overshoot; less could as well be of 1, or black."""
BLACK_OF_255 = -256


def grey_levels(image: Image.Image, meant: Grey) -> Grey:
    """Return which value of a deep mode is white: that which is meant, or 65535, or 1 or 255 for floats.

    Raises ImageError when it cannot be known: integers of 32 bits or with a sign, floats of another range.
    """
    if meant.white is not None or image.mode.startswith("I;16"):
        return Grey(meant.white or LARGEST_16_BITS, meant.inverted)
    low, high = _extremes(image)
    if image.mode == "I":
        # Pillow took this mode for PNG of 16 bits once; in a TIFF it stands for 32 bits or a sign.
        if low < 0 or high > LARGEST_16_BITS or image.format == "TIFF":
            raise ImageError(
                f"grey values from {low:.0f} to {high:.0f}, of 32 bits or with a sign, where 16 bits without a sign can be read"
            )
        if 0 < high <= LARGEST_8_BITS:
            raise ImageError(
                f"grey values from {low:.0f} to {high:.0f} of mode I, which may be of 8 bits or of 16: convert it to L or I;16"
            )
        return Grey(LARGEST_16_BITS)
    if 0 <= low and high <= 1:
        return Grey(1, meant.inverted)
    if BLACK_OF_255 <= low and WHITE_OF_255[0] <= high <= WHITE_OF_255[1]:
        return Grey(255, meant.inverted)
    raise ImageError(f"float grey values from {low:g} to {high:g}, where 0 to 1 or 0 to 255 can be read")


def to_eight_bits(image: Image.Image, levels: Grey) -> Image.Image:
    """Return an image of a deep mode as grey of 8 bits, rounded."""
    values, white = _finite(image), levels.white or LARGEST_16_BITS
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
