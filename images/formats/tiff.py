"""TIFF: tags that decide the pixels of the first image are kept, and those that cannot be honoured are refused."""

import struct
from typing import BinaryIO

from .decoder_input import DecoderInput, Grey, ImageError
from .exif_orientation import ORIENTATION, orientation_in_xmp, valid_orientation
from .spliced_file import splice
from .tiff_directory import INTEGERS, Directory, Field, read_directory, value_offset, values

BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANES, PALETTE, FORMAT, SUBSAMPLING = 258, 259, 262, 277, 284, 320, 339, 530
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
MAX_METADATA = 4 << 20
"""Bytes of a profile or of XMP."""
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
    if _one(file, directory, SAMPLES, 1) > MAX_SAMPLES:
        raise ImageError(f"{_describe(file, directory)} of more than {MAX_SAMPLES} samples, which cannot be read")
    length = file.seek(0, 2)
    if _one(file, directory, COMPRESSION, 1) != UNCOMPRESSED and length > MAX_COMPRESSED:
        raise ImageError(f"the file has {length} bytes, where {MAX_COMPRESSED} of a compressed TIFF can be read")
    orientation = valid_orientation(_one(file, directory, ORIENTATION, 1)) if ORIENTATION in directory.fields else None
    return DecoderInput(
        "TIFF",
        splice(file, _with_fields(file, directory, _corrected(file, directory))),
        orientation or orientation_in_xmp(_content(file, directory, XMP)),
        _content(file, directory, PROFILE) or None,
        grey=grey_of(_several(file, directory, BITS, (1,)), _one(file, directory, PHOTOMETRIC, 0)),
        description=_describe(file, directory),
    )


def _one(file: BinaryIO, directory: Directory, tag: int, missing: int) -> int:
    field = directory.fields.get(tag)
    return _several(file, directory, tag, (missing,))[0] if field and field.length == 1 else missing


def _several(file: BinaryIO, directory: Directory, tag: int, missing: tuple[int, ...]) -> tuple[int, ...]:
    return (values(file, directory, directory.fields[tag]) if tag in directory.fields else ()) or missing


def _describe(file: BinaryIO, directory: Directory) -> str:
    """Describe an image for the message when it cannot be read."""
    bits = "+".join(map(str, _several(file, directory, BITS, (1,))))
    sample = {1: "unsigned", 2: "signed", 3: "float"}.get(_several(file, directory, FORMAT, (1,))[0], "unknown")
    return f"TIFF of {bits} bits ({sample}, photometric {_one(file, directory, PHOTOMETRIC, 0)})"


def _corrected(file: BinaryIO, directory: Directory) -> dict[int, Field]:
    """Return the fields corrected for Pillow; raise ImageError for what it would misread."""
    bits, formats = _several(file, directory, BITS, (1,)), _several(file, directory, FORMAT, (1,))
    photometric = _one(file, directory, PHOTOMETRIC, 0)
    uncompressed = _one(file, directory, COMPRESSION, UNCOMPRESSED) == UNCOMPRESSED
    corrected = {
        tag: field
        for tag, field in directory.fields.items()
        if tag in KEPT and (field.kind in INTEGERS or tag in NOT_INTEGERS) and (field.length == 1 or tag not in SINGLE)
    }
    if SIGNED in formats and max(bits) <= 8:
        raise ImageError(f"{_describe(file, directory)}, where black and white are not known")
    if _one(file, directory, SAMPLES, 1) == 1:
        corrected.pop(PLANES, None)  # a single sample has one plane, whatever the file says
    elif uncompressed and max(bits) > 8 and _one(file, directory, PLANES, 1) == SEPARATE:
        raise ImageError(f"{_describe(file, directory)} in separate planes, which can only be read compressed")
    if uncompressed and photometric == 6 and _several(file, directory, SUBSAMPLING, (2, 2)) != (1, 1):
        raise ImageError(f"{_describe(file, directory)}, subsampled, which can only be read compressed")
    if UNDEFINED in formats:
        corrected.pop(FORMAT, None)
    if grey_of(bits, photometric).inverted and PHOTOMETRIC in corrected:
        corrected[PHOTOMETRIC] = Field(PHOTOMETRIC, 3, 1, struct.pack(directory.order + "H", BLACK_IS_ZERO))
    return corrected


def _with_fields(file: BinaryIO, directory: Directory, fields: dict[int, Field]) -> list[range | bytes]:
    """Return the file with its directory replaced by one of these fields, and none after it."""
    entry, counter = ("HHQ8s", "Q") if directory.wide else ("HHI4s", "H")
    order = directory.order
    content = struct.pack(order + counter, len(fields))
    content += b"".join(struct.pack(order + entry, *fields[tag]) for tag in sorted(fields))
    content += bytes(8 if directory.wide else 4)
    rest = directory.start + len(content)
    return [range(directory.start), content, range(rest, max(rest, file.seek(0, 2)))]


def _content(file: BinaryIO, directory: Directory, tag: int) -> bytes:
    """Return the bytes of a field stored outside the directory, empty when there is none."""
    field = directory.fields.get(tag)
    if field is None or field.kind not in (1, 7) or not len(field.value) < field.length <= MAX_METADATA:
        return b""
    offset = value_offset(directory, field)
    if offset is None:
        return b""
    file.seek(offset)
    return file.read(field.length)


def grey_of(bits: tuple[int, ...], photometric: int) -> Grey:
    """Return what the grey values of a TIFF stand for, where Pillow does not know."""
    # Pillow inverts images of up to 8 bits itself, and does not know deeper ones where 0 is white.
    return Grey(4095 if max(bits) == 12 else None, photometric == WHITE_IS_ZERO and max(bits) > 8)
