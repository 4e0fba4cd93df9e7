"""What is known of an image file before its pixels are decoded."""

from typing import BinaryIO, NamedTuple


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
    """What decoding takes at its peak, with the copies of vistok: measured, rounded up."""
    key: tuple[int, ...] = ()
    """The grey value or colour that is transparent, as 16 bits."""


def phrase(error: Exception) -> str:
    """Return the message of an error in one line."""
    return " ".join(str(error).split()) or type(error).__name__
