"""TIFF: tags that decide the pixels are kept, those that cannot be honoured refused, and Pillow's reading corrected."""

import struct
from typing import BinaryIO

from PIL import Image, ImageFile, ImagePalette, TiffImagePlugin

from ..spliced_file import splice
from .decoder_input import MAX_METADATA, DecoderInput, Grey, ImageError
from .exif_orientation import ORIENTATION, orientation_in_xmp, valid_orientation
from .tiff_directory import INTEGERS, Directory, Field, read_directory

BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANES, PALETTE, FORMAT, SUBSAMPLING = 258, 259, 262, 277, 284, 320, 339, 530
YCBCR = 6
XMP, PROFILE = 700, 34675
KEPT = (
    *(256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 322, 323, 324, 325),  # size, samples, strips, tiles
    *(284, 292, 293, 317, 320, 332, 338, 339, 347),  # planes, fax, predictor, palette, inks, alpha, format, JPEG
    *(*range(512, 522), 529, 530, 531, 532),  # old JPEG, YCbCr
)
SINGLE = (COMPRESSION, PHOTOMETRIC, SAMPLES, PLANES)
NOT_INTEGERS = (347, 529, 532)
"""JPEG tables, YCbCr coefficients and reference levels: bytes and fractions."""
MAX_STRIPS = 1 << 17
"""Strips or tiles: twice the rows of the largest image at 2,000 pixels a row."""
MAX_SAMPLES = 6
MAX_COMPRESSED = 1 << 29
"""Bytes of a compressed file, which is decoded from memory."""
UNCOMPRESSED, SEPARATE, WHITE_IS_ZERO, BLACK_IS_ZERO, SIGNED, UNDEFINED = 1, 2, 0, 1, 2, 4


def read_tiff(file: BinaryIO) -> DecoderInput:
    """Inspect a TIFF file; raise ImageError when its samples would be misread."""
    directory = read_directory(file)
    if directory is None or not directory.fields:
        raise ImageError("broken image: the file has no directory")
    if directory.wide and directory.order == ">":
        raise ImageError("a BigTIFF with the most significant byte first, which cannot be read")
    for tag in KEPT:
        if tag in directory.fields and directory.fields[tag].length > MAX_STRIPS:
            raise ImageError(f"broken image: tag {tag} has {directory.fields[tag].length} values")
    if _one(directory, SAMPLES, 1) > MAX_SAMPLES:
        raise ImageError(f"{_describe(directory)} of more than {MAX_SAMPLES} samples, which cannot be read")
    if _one(directory, COMPRESSION, 1) != UNCOMPRESSED and (length := file.seek(0, 2)) > MAX_COMPRESSED:
        raise ImageError(f"the file has {length} bytes, where {MAX_COMPRESSED} of a compressed TIFF can be read")
    orientation = valid_orientation(_one(directory, ORIENTATION, 1)) if ORIENTATION in directory.fields else None
    return DecoderInput(
        "TIFF",
        splice(file, _with_fields(directory, _corrected(directory))),
        orientation or orientation_in_xmp(_content(directory, XMP)),
        _content(directory, PROFILE) or None,
        grey=grey_of(directory.integers(BITS) or (1,), _one(directory, PHOTOMETRIC, 0)),
        description=_describe(directory),
    )


def _one(directory: Directory, tag: int, missing: int) -> int:
    found = directory.integers(tag)
    return found[0] if len(found) == 1 else missing


def _describe(directory: Directory) -> str:
    bits = "+".join(map(str, directory.integers(BITS) or (1,)))
    sample = {1: "unsigned", 2: "signed", 3: "float"}.get((directory.integers(FORMAT) or (1,))[0], "unknown")
    return f"TIFF of {bits} bits ({sample}, photometric {_one(directory, PHOTOMETRIC, 0)})"


def _corrected(directory: Directory) -> dict[int, Field]:
    """Return the fields corrected for Pillow; raise ImageError for what it would misread."""
    bits, formats = directory.integers(BITS) or (1,), directory.integers(FORMAT) or (1,)
    photometric = _one(directory, PHOTOMETRIC, 0)
    uncompressed = _one(directory, COMPRESSION, UNCOMPRESSED) == UNCOMPRESSED
    corrected = {
        tag: field
        for tag, field in directory.fields.items()
        if tag in KEPT and (field.kind in INTEGERS or tag in NOT_INTEGERS) and (field.length == 1 or tag not in SINGLE)
    }
    if SIGNED in formats and max(bits) <= 8:
        raise ImageError(f"{_describe(directory)}, where black and white are not known")
    if _one(directory, SAMPLES, 1) == 1:
        corrected.pop(PLANES, None)  # a single sample has one plane, whatever the file says
    elif uncompressed and max(bits) > 8 and _one(directory, PLANES, 1) == SEPARATE:
        raise ImageError(f"{_describe(directory)} in separate planes, which can only be read compressed")
    if uncompressed and photometric == YCBCR and (directory.integers(SUBSAMPLING) or (2, 2)) != (1, 1):
        raise ImageError(f"{_describe(directory)}, subsampled, which can only be read compressed")
    if UNDEFINED in formats:
        corrected.pop(FORMAT, None)
    if grey_of(bits, photometric).inverted and PHOTOMETRIC in corrected:
        corrected[PHOTOMETRIC] = Field(PHOTOMETRIC, 3, 1, struct.pack(directory.order + "H", BLACK_IS_ZERO))
    return corrected


def _with_fields(directory: Directory, fields: dict[int, Field]) -> list[range | bytes]:
    """Return the file with its directory replaced by one of these fields, and none after it."""
    entry, counter = ("HHQ8s", "Q") if directory.wide else ("HHI4s", "H")
    order = directory.order
    content = struct.pack(order + counter, len(fields))
    content += b"".join(struct.pack(order + entry, *fields[tag]) for tag in sorted(fields))
    content += bytes(8 if directory.wide else 4)
    return [range(directory.start), content, range(directory.start + len(content), directory.file.seek(0, 2))]


def _content(directory: Directory, tag: int) -> bytes:
    """Return the bytes of a field stored outside the directory, empty when there is none."""
    field = directory.fields.get(tag)
    if field is None or field.kind not in (1, 7) or not len(field.value) < field.length <= MAX_METADATA:
        return b""
    return directory.stored(field, field.length)


def grey_of(bits: tuple[int, ...], photometric: int) -> Grey:
    """Return what the grey values of a TIFF mean, where Pillow does not know."""
    # Pillow inverts images of up to 8 bits itself, and does not know deeper ones where 0 is white.
    return Grey(4095 if max(bits) == 12 else None, photometric == WHITE_IS_ZERO and max(bits) > 8)


def grey_of_opened(image: Image.Image) -> Grey:
    """Return what the grey values of an image that a caller opened mean, by the tags of a TIFF."""
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    return grey_of(tags.get(BITS, (1,)), tags.get(PHOTOMETRIC, 0))


def prepare(image: ImageFile.ImageFile) -> None:
    """Correct strips, byte order and palette of a TIFF before it is decoded; raise ImageError when strips are missing."""
    assert isinstance(image, TiffImagePlugin.TiffImageFile)
    if image.info.get("compression") == "raw":
        image.tile = _tiles_once(image)
        if image.mode == "RGB" and image.tag_v2.get(PHOTOMETRIC) == YCBCR:
            # Pillow below 13 takes the values for those of RGB, which they are only behind a decompressor.
            image._mode = "YCbCr"
            image.tile = [tile._replace(args=("YCbCr", *(tile.args or ())[1:])) for tile in image.tile]
    elif image.mode == "F" and isinstance(image.tile[0].args, tuple):
        # Decompressed values have the byte order of this machine, not that of the file.
        image.tile = [image.tile[0]._replace(args=("F;32NF", *image.tile[0].args[1:]))]
    if image.mode in ("P", "PA") and max(image.tag_v2[PALETTE]) < 256:
        # Some writers store 8-bit palettes where 16 bits are required.
        image.palette = ImagePalette.raw("RGB;L", bytes(image.tag_v2[PALETTE]))


def _tiles_once(image: TiffImagePlugin.TiffImageFile) -> list[ImageFile._Tile]:
    """Return the strips or tiles that cover each plane once; a hostile file may list them many times."""
    planes = image.tag_v2.get(SAMPLES, 1) if image.tag_v2.get(PLANES, 1) == SEPARATE else 1
    left = image.width * image.height * planes
    tiles: list[ImageFile._Tile] = []
    for tile in image.tile:
        if left <= 0:
            break
        west, north, east, south = tile.extents or (0, 0, 0, 0)
        left -= (east - west) * (south - north)
        tiles.append(tile)
    if left > 0:
        raise ImageError("broken image: strips are missing")
    return tiles
