"""Which way up an image is, read so that no other tag can be in the way."""

import io
import re

from PIL import Image

from .directory import read_directory, values

ORIENTATION = 0x0112
UPRIGHT = 1
IN_XMP = re.compile(rb"tiff:Orientation(?:=[\"']|>)([0-9])")


def orientation(exif: bytes, xmp: bytes = b"") -> int:
    """Return the orientation, 1 to 8, from EXIF data, or else from XMP; 1 when neither has a right one."""
    file = io.BytesIO(exif.removeprefix(b"Exif\0\0"))
    directory = read_directory(file)
    if directory is None or ORIENTATION not in directory.fields:
        return orientation_in_xmp(xmp)
    found = values(file, directory, directory.fields[ORIENTATION])
    return known(found[0]) if len(found) == 1 else UPRIGHT


def orientation_in_xmp(xmp: bytes) -> int:
    """Return the orientation, 1 to 8, that XMP tells, 1 when it tells none."""
    found = IN_XMP.search(xmp)
    return known(int(found[1])) if found else UPRIGHT


def known(value: object) -> int:
    """Return an orientation of 1 to 8 as it is, and 1 for anything else."""
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT


def told_by_decoder(image: Image.Image) -> int:
    """Return the orientation, 1 to 8, of an image by the EXIF or XMP that its decoder found."""
    # Of an AVIF, Pillow's EXIF has what its boxes say, and XMP does not count.
    return orientation(_info(image, "exif"), b"" if image.format == "AVIF" else _info(image, "xmp"))


def told_by_owner(image: Image.Image) -> int:
    """Return the orientation, 1 to 8, of an image that somebody opened, and may have told otherwise since."""
    try:
        return known(image.getexif().get(ORIENTATION))
    except Exception:  # odd tags raise whatever their types lead to
        return told_by_decoder(image)


def _info(image: Image.Image, name: str) -> bytes:
    value = image.info.get(name)
    return value if isinstance(value, bytes) else b""
