"""What a decoder gets of an image file, and what is known before the pixels are decoded."""

from typing import BinaryIO, NamedTuple

MAX_METADATA = 4 << 20
"""Bytes of a profile or a text; larger ones are skipped."""


class ImageError(ValueError):
    """An image file that cannot be used; the message is a phrase that says why."""


class Grey(NamedTuple):
    """What grey values mean."""

    white: int | None = None
    """The value of white, where it is not the maximum of Pillow's mode."""
    inverted: bool = False
    """Whether 0 is white."""


class DecoderInput(NamedTuple):
    """A file cleaned for its decoder, and what was read around the pixels."""

    format: str
    """Pillow's name of the format."""
    file: BinaryIO
    """The file with little more than what decides the pixels."""
    orientation: int | None = None
    """EXIF orientation, 1 to 8; None when the decoder reports it."""
    profile: bytes | None = None
    """The ICC profile; None when there is none or the decoder reports it."""
    size: tuple[int, int] | None = None
    """Width and height, where they must be known before the decoder starts."""
    bytes_per_pixel: int = 12
    """Peak memory of decoding and converting, measured and rounded up."""
    bytes_per_coded_pixel: int = 0
    """Additional memory for each pixel of the file, even when a smaller image is decoded."""
    transparent: tuple[int, ...] = ()
    """The transparent grey value or colour: 16 bits a value when the image has 16, else 8."""
    masks: tuple[int, ...] = ()
    """Bit masks of red, green, blue and alpha in a pixel, where Pillow does not know them."""
    grey: Grey = Grey()
    """What grey values mean, where Pillow does not know."""
    description: str = ""
    """What the image is, for the message when no decoder reads it."""
