"""GIF: the first frame and its control extension are kept; comments before it are dropped."""

from typing import BinaryIO, TypeAlias

from PIL import Image, ImageFile

from ..spliced_file import Piece, splice
from .decoder_input import DecoderInput, ImageError

HEADER = 13
MAX_BLOCKS = 1 << 17
"""Blocks before the first frame: 33 MB of comments."""
EXTENSION, FRAME = b"!", b","
Box: TypeAlias = tuple[int, int, int, int]
CONTROL = b"\xf9"
"""Label of the extension that gives the transparent colour."""


def read_gif(file: BinaryIO) -> DecoderInput:
    """Inspect a GIF file; raise ImageError when it has no frame, or too many blocks before it."""
    file.seek(0)
    head = file.read(HEADER)
    flags = head[10] if len(head) == HEADER else 0
    at = HEADER + (3 << (flags & 7) + 1 if flags & 128 else 0)  # after the palette
    kept: list[Piece] = [range(at)]
    blocks = 0
    while blocks < MAX_BLOCKS:
        file.seek(at)
        start = file.read(2)
        if start[:1] == FRAME:
            return DecoderInput("GIF", splice(file, [*kept, range(at, file.seek(0, 2))]), orientation=1)
        stop = at + 1
        if start[:1] == EXTENSION:
            stop, passed = _end_of_blocks(file, at + 2, MAX_BLOCKS - blocks)
            blocks += passed
            if start[1:] == CONTROL:
                kept.append(range(at, stop))
        elif start[:1] in (b"", b";"):
            raise ImageError("broken image: the file has no frame")
        blocks += 1
        at = stop
    raise ImageError(f"GIF of more than {MAX_BLOCKS} blocks before its first frame")


def frame_box(image: ImageFile.ImageFile) -> Box | None:
    """Return the box that the first frame of a GIF covers, before decoding; None when it covers all of the canvas."""
    if image.format != "GIF" or image.info.get("transparency") is not None or not image.tile:
        return None
    box = image.tile[0].extents
    return None if box == (0, 0, *image.size) else box


def clear_around(image: Image.Image, box: Box | None) -> None:
    """Make the canvas around the first frame transparent, which Pillow fills with the first colour of the palette."""
    if box:
        alpha = Image.new("L", image.size)
        alpha.paste(255, box)
        image.putalpha(alpha)


def _end_of_blocks(file: BinaryIO, at: int, limit: int) -> tuple[int, int]:
    """Return where the data blocks from `at` on end, and how many there are, at most `limit`."""
    file.seek(at)
    for index in range(limit):
        length = (file.read(1) or b"\0")[0]
        at += 1 + length
        if not length:
            return at, index
        file.seek(at)
    return at, limit
