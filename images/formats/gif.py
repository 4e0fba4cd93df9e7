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
    extension, is_control = 0, False  # where the extension begins whose data blocks are read
    for _ in range(MAX_BLOCKS):
        file.seek(at)
        start = file.read(2)
        if extension:
            length = (start or b"\0")[0]
            at += 1 + length
            if not length and is_control:
                kept.append(range(extension, at))
            extension = extension if length else 0
        elif start[:1] == FRAME:
            return DecoderInput("GIF", splice(file, [*kept, range(at, file.seek(0, 2))]), orientation=1)
        elif start[:1] == EXTENSION:
            extension, is_control = at, start[1:] == CONTROL
            at += 2
        elif start[:1] in (b"", b";"):
            raise ImageError("broken image: the file has no frame")
        else:
            at += 1
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
