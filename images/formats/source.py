"""What is known of an image file before its pixels are decoded."""

from typing import BinaryIO, NamedTuple


class Grey(NamedTuple):
    """What grey values stand for."""

    white: int | None = None
    """The largest value, where it is not that of Pillow's mode."""
    inverted: bool = False
    """Whether 0 is white."""


class Source(NamedTuple):
    """A file as its decoder is shown it, and what was found around the pixels."""

    format: str
    """Pillow's name of the format."""
    file: BinaryIO
    """The file with what decides the pixels, and little else."""
    orientation: int | None = None
    """1 to 8 as in EXIF; None when the decoder tells it."""
    profile: bytes | None = None
    """The ICC profile; the decoder may tell another."""
    size: tuple[int, int] | None = None
    """Width and height where they must be known before the decoder starts."""
    bytes_per_pixel: int = 12
    """What decoding takes at its peak, with our copies: measured, rounded up."""
    bytes_per_coded_pixel: int = 0
    """What a decoder takes besides for each pixel of the file, though it be asked for a smaller image."""
    key: tuple[int, ...] = ()
    """The grey value or colour that is transparent: of 16 bits when the image has 16, of 8 otherwise."""
    masks: tuple[int, ...] = ()
    """Bits of red, green, blue and alpha in a pixel, where the decoder does not know them."""
    grey: Grey = Grey()
    """How grey values are meant, where the decoder does not know."""
    kind: str = ""
    """What the image is, in words for the case that it cannot be decoded."""
