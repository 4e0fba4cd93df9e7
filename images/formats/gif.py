"""GIF: the first frame and what is said of it are kept; the comments before it are left out."""

from typing import BinaryIO, TypeAlias

from PIL import Image, ImageFile

from ..errors import ImageError
from .pieces import Piece, joined
from .source import Source

HEAD = 13
BLOCKS = 1 << 17
"""More blocks before the first frame are refused: 33 MB of comments."""
EXTENSION, FRAME = b"!", b","
Box: TypeAlias = tuple[int, int, int, int]
CONTROL = b"\xf9"
"""The extension that says which colour of the frame is transparent."""


def read_gif(file: BinaryIO) -> Source:
    """Look at a GIF file; raise ImageError when no frame is near its start."""
    file.seek(0)
    head = file.read(HEAD)
    at = HEAD + _palette(head[10] if len(head) == HEAD else 0)
    kept: list[Piece] = [range(at)]
    blocks = 0
    while blocks < BLOCKS:
        file.seek(at)
        start = file.read(2)
        if start[:1] == FRAME:
            return Source("GIF", joined(file, [*kept, range(at, file.seek(0, 2))]), orientation=1)
        stop = at + 1
        if start[:1] == EXTENSION:
            stop, passed = _end_of_blocks(file, at + 2, BLOCKS - blocks)
            blocks += passed
            if start[1:] == CONTROL:
                kept.append(range(at, stop))
        elif start[:1] in (b"", b";"):
            raise ImageError("broken image: the file has no frame")
        blocks += 1
        at = stop
    raise ImageError(f"GIF of more than {BLOCKS} blocks before its first frame")


def covered(image: ImageFile.ImageFile) -> Box | None:
    """Return the part of a GIF that its first frame covers, before it is decoded; None when that is all of it."""
    if image.format != "GIF" or image.info.get("transparency") is not None or not image.tile:
        return None
    box = image.tile[0].extents
    return None if box == (0, 0, *image.size) else box


def clear_around(image: Image.Image, box: Box | None) -> None:
    """Make transparent what the first frame leaves out, where Pillow puts the first colour of the palette."""
    if box:
        alpha = Image.new("L", image.size)
        alpha.paste(255, box)
        image.putalpha(alpha)


def _palette(flags: int) -> int:
    """Return the bytes of the palette that the flags of a GIF or of a frame announce."""
    return 3 << (flags & 7) + 1 if flags & 128 else 0


def _end_of_blocks(file: BinaryIO, at: int, most: int) -> tuple[int, int]:
    """Return where the blocks that begin at a place end, and how many there are, at most `most`."""
    file.seek(at)
    for number in range(most):
        length = (file.read(1) or b"\0")[0]
        at += 1 + length
        if not length:
            return at, number
        file.seek(at)
    return at, most
