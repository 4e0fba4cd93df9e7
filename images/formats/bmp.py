"""BMP: pixels whose bits are shared out over the colours in ways that Pillow does not know."""

import struct
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile

from ..errors import ImageError
from ..strips import strips
from .pieces import Piece, joined
from .source import Source

COMPRESSION, MASKS, ALPHA_MASK_FROM = 30, 54, 56
"""Where a header tells them, and its length from which it has a mask for alpha."""
RAW, BITFIELDS, ALPHA_BITFIELDS = 0, 3, 6
KNOWN = {(16, 0xF800, 0x7E0, 0x1F, 0), (16, 0x7C00, 0x3E0, 0x1F, 0)} | {
    (32, *masks)
    for masks in (
        (0xFF0000, 0xFF00, 0xFF, 0),
        (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
        (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
        (0, 0, 0, 0),
    )
}
"""Bits of a pixel, and masks of red, green, blue and alpha, that are left to Pillow."""
WHOLE_PIXELS = {16: ("I;16", "I;16", "<u2"), 32: ("I", "I;32", "<u4")}
"""Pillow's mode and raw mode, and numpy's type, of a pixel as one number."""


def read_bmp(file: BinaryIO) -> Source:
    """Look at a BMP file; raise ImageError when the masks of its colours have gaps or are missing."""
    file.seek(0)
    head = file.read(70)
    if len(head) < 70:
        return Source("BMP", file, orientation=1)
    length, bits, compression = (
        struct.unpack_from(form, head, at)[0] for form, at in (("<I", 14), ("<H", 28), ("<I", COMPRESSION))
    )
    if length < 40 or compression not in (BITFIELDS, ALPHA_BITFIELDS) or bits not in WHOLE_PIXELS:
        return Source("BMP", file, orientation=1)
    masks = struct.unpack_from("<4I", head, MASKS)
    if length < ALPHA_MASK_FROM and compression == BITFIELDS:
        masks = (*masks[:3], 0)
    if compression == BITFIELDS and (bits, *masks) in KNOWN:
        return Source("BMP", file, orientation=1)
    for mask in masks:
        if mask >> bits or mask & (mask + (mask & -mask)) or not any(masks[:3]):
            raise ImageError(f"broken image: masks {', '.join(map(hex, masks))} of {bits} bits")
    # Pillow is told of the colours that it expects, and asked for whole pixels.
    content: list[Piece] = [range(COMPRESSION), bytes(4), range(COMPRESSION + 4, file.seek(0, 2))]
    return Source("BMP", joined(file, content), orientation=1, masks=masks)


def ask_for_pixels(image: ImageFile.ImageFile) -> str:
    """Have an image decoded as whole pixels, and return numpy's type of them."""
    (tile,) = image.tile
    assert isinstance(tile.args, tuple)
    image._mode, raw, kind = WHOLE_PIXELS[16 if tile.args[0] == "BGR;15" else 32]
    image.tile = [tile._replace(args=(raw, *tile.args[1:]))]
    return kind


def unpacked(image: Image.Image, kind: str, masks: tuple[int, ...]) -> Image.Image:
    """Return the colours of whole pixels, with alpha where it has a mask."""
    masks = masks if masks[3] else masks[:3]
    whole, top = Image.new("RGBA" if len(masks) == 4 else "RGB", image.size), 0
    for strip in strips(image):
        pixels = np.asarray(strip).astype("<i8").astype(kind)
        whole.paste(Image.fromarray(np.dstack([_levels(pixels, mask) for mask in masks])), (0, top))
        top += strip.height
    return whole


def _levels(pixels: np.ndarray, mask: int) -> np.ndarray:
    """Return the bits of a mask as levels of 0 to 255, rounded."""
    step = mask & -mask or 1
    most = max(1, mask // step)
    return np.round((pixels & pixels.dtype.type(mask)) // pixels.dtype.type(step) * (255 / most)).astype(np.uint8)
