"""Correct what Pillow makes of a PNG: transparency of 16 bits, and missing rows."""

import numpy as np
from PIL import Image, ImageFile

from ..row_strips import strips
from .decoder_input import DecoderInput, ImageError


def add_alpha_of_16_bits(image: ImageFile.ImageFile, source: DecoderInput) -> None:
    """Make the transparent colour of a 16-bit PNG transparent; Pillow keeps only the upper 8 bits of each value."""
    lower = Image.open(source.file, formats=["PNG"])
    lower.tile = [tile._replace(args="RGB;16L") for tile in lower.tile]  # the lower byte of each value
    upper_key, lower_key = ([part >> shift & 255 for part in source.transparent] for shift in (8, 0))
    alpha, top = Image.new("L", image.size), 0
    for upper, low in zip(strips(image), strips(lower), strict=True):
        same = (np.asarray(upper) == upper_key).all(axis=2) & (np.asarray(low) == lower_key).all(axis=2)
        alpha.paste(Image.fromarray(np.where(same, 0, 255).astype(np.uint8)), (0, top))
        top += upper.height
    image.putalpha(alpha)


def check_rows(image: ImageFile.ImageFile, source: DecoderInput) -> None:
    """Raise ImageError when rows are missing: the data may end early without an error, which leaves them black."""
    last = (0, max(0, image.height - 2), *image.size)  # two, because interlacing stores odd rows last
    rows = np.asarray(image.crop(last))
    if image.height > 1 and all(row.any() for row in rows):
        return
    again = Image.open(source.file, formats=["PNG"])
    again.im = Image.new(again.mode, again.size, (255,) * len(again.getbands())).im
    again.load()
    if not np.array_equal(np.asarray(again.crop(last)), rows):
        raise ImageError("broken image: rows are missing")
