"""TIFF: the tags that decide the pixels of the first image are kept, and honoured or refused."""

import struct
from typing import BinaryIO, NamedTuple

from PIL import Image, ImageFile, ImagePalette, TiffImagePlugin

from .errors import PictureError
from .exif import ORIENTATION, Directory, Field, integer, known, read_directory
from .pieces import joined
from .source import Source

KEPT = frozenset(
    # size, bits, compression, photometric, fill order, strips, samples, planes, fax, predictor, palette, tiles, inks, extra
    # samples, sample format, JPEG old and new, YCbCr
    (256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332, 338, 339, 347)
    + (*range(512, 522), 529, 530, 531, 532)
)
PLANES, SAMPLES, PROFILE = 284, 277, 34675
STRIPS = 1 << 18
"""More strips or tiles are refused."""
LARGEST_PROFILE = 4 << 20
LARGEST_PACKED = 1 << 29
"""Bytes of a compressed file, which is decoded from memory."""
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value by its type."""
WHITE_IS_ZERO, YCBCR = 0, 6
SIGNED = 2


class Grey(NamedTuple):
    """How the grey values of a TIFF are meant."""

    white: int | None = None
    """The largest value, where it is less than that of the mode."""
    inverted: bool = False
    """Whether 0 is white although Pillow left it as it is."""


def read_tiff(file: BinaryIO) -> Source:
    """Look at a TIFF file; raise PictureError when it has no directory, or one of absurd length."""
    directory = read_directory(file)
    if directory is None or not directory.fields:
        raise PictureError("broken picture: the file has no directory")
    order = directory.order
    fields = {field.tag: field for field in reversed(directory.fields)}
    if integer(fields.get(SAMPLES, Field(SAMPLES, 3, 1, struct.pack(order + "HH", 1, 0))), order) == 1:
        fields.pop(PLANES, None)  # one sample has one plane, whatever the file says
    kept = [fields[tag] for tag in sorted(fields) if tag in KEPT]
    for field in kept:
        if field.count > STRIPS or field.kind not in SIZES:
            raise PictureError(f"broken picture: tag {field.tag} has {field.count} values of type {field.kind}")
    return Source(
        "TIFF",
        joined(file, _with_fields(file, directory, kept)),
        known(integer(fields[ORIENTATION], order)) if ORIENTATION in fields else None,
        _profile(file, directory, fields.get(PROFILE)),
        bytes_per_pixel=16,
    )


def _with_fields(file: BinaryIO, directory: Directory, kept: list[Field]) -> list[range | bytes]:
    """Return the file with a directory of the fields `kept`, the last one, at the place of the old."""
    line, number = ("HHQ8s", "Q") if directory.wide else ("HHI4s", "H")
    order = directory.order
    content = struct.pack(order + number, len(kept)) + b"".join(struct.pack(order + line, *field) for field in kept)
    content += bytes(8 if directory.wide else 4)
    head = range(directory.start)
    return [head, content, range(directory.start + len(content), max(directory.start + len(content), file.seek(0, 2)))]


def _profile(file: BinaryIO, directory: Directory, field: Field | None) -> bytes | None:
    if field is None or field.kind not in (1, 7) or not 128 < field.count <= LARGEST_PROFILE:
        return None
    (place,) = struct.unpack(directory.order + ("Q" if directory.wide else "I"), field.value)
    if place >= 1 << 63:
        return None
    file.seek(place)
    return file.read(field.count)


def prepare(image: ImageFile.ImageFile) -> None:
    """Correct what Pillow is about to read otherwise than meant; raise PictureError for what it cannot read."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    bits = image.tag_v2.get(258, (1,))
    planar, raw = image.tag_v2.get(PLANES, 1) == 2, image.info.get("compression") == "raw"
    if raw and planar and max(bits) > 8:
        raise PictureError("TIFF of 16 bits in separate planes without compression, which cannot be read")
    if raw and image.mode == "YCbCr" and tuple(image.tag_v2.get(530, (2, 2))) != (1, 1):
        raise PictureError("TIFF of subsampled YCbCr without compression, which cannot be read")
    if image.mode == "L" and SIGNED in _formats(image):
        raise PictureError("TIFF of 8 bits with a sign, where black and white are not known")
    if raw and not planar and not _covered(image):
        raise PictureError("broken picture: strips are missing")
    if not raw and image.mode == "F" and image.tile:
        # The decompressed values have the order of this machine, not that of the file.
        tile = image.tile[0]
        image.tile = [tile._replace(args=("F;32NF", *tile.args[1:]))] if isinstance(tile.args, tuple) else image.tile
    if image.mode in ("P", "PA") and max(image.tag_v2[320]) < 256:
        # Some writers took a palette of 16 bits for one of 8.
        image.palette = ImagePalette.raw("RGB;L", bytes(image.tag_v2[320]))


def _formats(image: TiffImagePlugin.TiffImageFile) -> tuple[int, ...]:
    return tuple(image.tag_v2.get(339, (1,)))


def _covered(image: TiffImagePlugin.TiffImageFile) -> bool:
    area = sum((tile[1][2] - tile[1][0]) * (tile[1][3] - tile[1][1]) for tile in image.tile if tile[1])
    return area >= image.width * image.height


def grey(image: Image.Image) -> Grey:
    """Return how the grey values of an image are meant, by the tags of TIFF."""
    tags = getattr(image, "tag_v2", {})
    bits = max(tags.get(258, (8,)))
    inverted = tags.get(262, 1) == WHITE_IS_ZERO and image.mode in ("I;16", "I;16B", "I;16L", "F")
    return Grey(4095 if bits == 12 else None, inverted)
