"""BMP: bit masks of colours that Pillow does not know."""

import struct
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile

from ..row_strips import by_strips
from ..spliced_file import Piece, splice
from .decoder_input import DecoderInput, ImageError

HEADER = struct.Struct("<14xI10xHI20x4I")
"""Length of the header, bits of a pixel, compression, and masks."""
COMPRESSION, ALPHA_MASK_FROM = 30, 56
"""Offset of the compression, and the length from which a header has a mask for alpha."""
BITFIELDS, ALPHA_BITFIELDS = 3, 6
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
"""Bits of a pixel with masks of red, green, blue and alpha that Pillow knows."""
WHOLE_PIXELS = {16: ("I;16", "I;16", "<u2"), 32: ("I", "I;32", "<u4")}
"""Pillow's mode and raw mode, and numpy's type, for a pixel read as one integer."""


def read_bmp(file: BinaryIO) -> DecoderInput:
    """Inspect a BMP file; raise ImageError when its colour masks have gaps or are missing."""
    file.seek(0)
    head = file.read(HEADER.size)
    length, bits, compression, *masks = HEADER.unpack(head.ljust(HEADER.size, b"\0"))
    if compression == BITFIELDS and length < ALPHA_MASK_FROM:
        masks[3] = 0
    has_masks = length >= 40 and bits in WHOLE_PIXELS and compression in (BITFIELDS, ALPHA_BITFIELDS)
    if len(head) < HEADER.size or not has_masks or (compression == BITFIELDS and (bits, *masks) in KNOWN):
        return DecoderInput("BMP", file, orientation=1)
    for mask in masks:
        if mask >> bits or mask & (mask + (mask & -mask)) or not any(masks[:3]):
            raise ImageError(f"broken image: masks {', '.join(map(hex, masks))} of {bits} bits")
    # Without masks Pillow accepts the file, and `decode_as_integers` makes it return whole pixels.
    content: list[Piece] = [range(COMPRESSION), bytes(4), range(COMPRESSION + 4, file.seek(0, 2))]
    return DecoderInput("BMP", splice(file, content), orientation=1, masks=tuple(masks))


def decode_as_integers(image: ImageFile.ImageFile) -> str:
    """Make Pillow decode each pixel as one integer, and return numpy's type for it."""
    (tile,) = image.tile
    assert isinstance(tile.args, tuple)
    image._mode, raw, kind = WHOLE_PIXELS[16 if tile.args[0] == "BGR;15" else 32]
    image.tile = [tile._replace(args=(raw, *tile.args[1:]))]
    return kind


def apply_masks(image: Image.Image, kind: str, masks: tuple[int, ...]) -> Image.Image:
    """Return the colours of pixels decoded as integers, with alpha where it has a mask."""
    masks = masks if masks[3] else masks[:3]

    def colours(strip: Image.Image) -> Image.Image:
        pixels = np.asarray(strip).astype("<i8").astype(kind)
        return Image.fromarray(np.dstack([_levels(pixels, mask) for mask in masks]))

    return by_strips(colours, image)


def _levels(pixels: np.ndarray, mask: int) -> np.ndarray:
    """Return the bits of a mask scaled to 0 to 255, rounded."""
    step = mask & -mask or 1
    maximum = max(1, mask // step)
    return np.round((pixels & pixels.dtype.type(mask)) // pixels.dtype.type(step) * (255 / maximum)).astype(np.uint8)
