"""EXIF orientation: read from EXIF or XMP, and applied. Other tags, however broken, cannot prevent that."""

import io
import re

from PIL import Image

from .tiff_directory import read_directory

ORIENTATION = 0x0112
"""The tag in EXIF."""
UPRIGHT = 1
IN_XMP = re.compile(rb"tiff:Orientation(?:=[\"']|>)([0-9])")
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image of each orientation upright; 5 to 8 swap width and height."""


def orientation_of(exif: bytes, xmp: bytes = b"") -> int:
    """Return the orientation, 1 to 8, from EXIF data or else from XMP; 1 when neither has a valid one."""
    directory = read_directory(io.BytesIO(exif.removeprefix(b"Exif\0\0")))
    if directory is None or ORIENTATION not in directory.fields:
        return orientation_in_xmp(xmp)
    found = directory.integers(ORIENTATION)
    return valid_orientation(found[0]) if len(found) == 1 else UPRIGHT


def orientation_in_xmp(xmp: bytes) -> int:
    """Return the orientation, 1 to 8, in XMP; 1 when there is none."""
    found = IN_XMP.search(xmp)
    return valid_orientation(int(found[1])) if found else UPRIGHT


def valid_orientation(value: object) -> int:
    """Return an orientation of 1 to 8 unchanged, and 1 for anything else."""
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT


def decoded_orientation(image: Image.Image) -> int:
    """Return the orientation, 1 to 8, from the EXIF or XMP that the decoder found."""
    # For AVIF, Pillow's EXIF holds what the boxes say, and XMP does not count.
    found = (image.info.get("exif"), None if image.format == "AVIF" else image.info.get("xmp"))
    return orientation_of(*(value if isinstance(value, bytes) else b"" for value in found))


def current_orientation(image: Image.Image) -> int:
    """Return the orientation, 1 to 8, of an image that a caller opened and may have changed since."""
    try:
        return valid_orientation(image.getexif().get(ORIENTATION))
    except Exception:  # odd tags raise all kinds of errors
        return decoded_orientation(image)


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return an image of an orientation turned upright."""
    return image if orientation == UPRIGHT else image.transpose(TRANSPOSITIONS[orientation])
