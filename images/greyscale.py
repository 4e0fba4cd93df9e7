"""Grey of more than 8 bits, brought to 8."""

import numpy as np
from PIL import Image

from .errors import PictureError
from .strips import strips

DEEP = ("I;16", "I;16B", "I;16L", "I", "F")
"""Pillow's modes of grey beyond 8 bits."""
LARGEST_16_BITS = 65535
OF_ONE, OF_255 = (0, 1), (16, 511)
"""Largest values by which floats are known to be of 1 or of 255, which sharpening may overshoot; between is darkness."""
LOWEST_OF_255 = -256


def white_of(image: Image.Image) -> float:
    """Return the value of white in an image of a deep mode: 65535, or 1 or 255 for floats.

    Raises PictureError when it cannot be known: integers beyond 16 bits, floats of another range.
    """
    if image.mode.startswith("I;16"):
        return LARGEST_16_BITS
    low, high = _extremes(image)
    if image.mode == "I":
        if low < 0 or high > LARGEST_16_BITS:
            raise PictureError(f"grey values from {low:.0f} to {high:.0f}, where 0 to {LARGEST_16_BITS} can be read")
        return LARGEST_16_BITS
    if OF_ONE[0] <= low and high <= OF_ONE[1]:
        return 1
    if LOWEST_OF_255 <= low and OF_255[0] <= high <= OF_255[1]:
        return 255
    raise PictureError(f"float grey values from {low:g} to {high:g}, where 0 to 1 or 0 to 255 can be read")


def to_eight_bits(image: Image.Image, white: float, inverted: bool = False) -> Image.Image:
    """Return an image of a deep mode as grey of 8 bits, rounded; 0 is black, or white when `inverted`."""
    values = _finite(image)
    if image.mode == "F":
        scaled = np.clip(np.round(values * np.float32(255 / white)), 0, 255)
    else:
        scaled = (values.astype(np.int64).clip(0, int(white)) * 255 + int(white) // 2) // int(white)
    return Image.fromarray((255 - scaled if inverted else scaled).astype(np.uint8))


def _extremes(image: Image.Image) -> tuple[float, float]:
    found = [(float(values.min()), float(values.max())) for values in map(_finite, strips(image))]
    return min(low for low, _ in found), max(high for _, high in found)


def _finite(strip: Image.Image) -> np.ndarray:
    return np.nan_to_num(np.asarray(strip))
