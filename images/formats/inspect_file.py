"""Detect the format of a file by its first bytes, and inspect it before its pixels are decoded."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

from PIL import TiffImagePlugin

from ..spliced_file import splice
from .bmp import read_bmp
from .decoder_input import DecoderInput, ImageError
from .gif import read_gif
from .jpeg import read_jpeg
from .png import read_png
from .tiff import read_tiff

IN_MEMORY = ("WEBP", "AVIF", "HEIF")
MAX_IN_MEMORY = 1 << 29
"""Bytes of a file of these formats, whose decoders read all of it into memory."""
MAX_META = 16 << 20
"""Bytes of the meta box of an AVIF that is searched for EXIF."""
MAX_BOXES = 1000
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
AVIF_BRANDS = (b"avif", b"avis")
NAMES = "JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF, HEIC"


def inspect_file(file: BinaryIO) -> DecoderInput:
    """Return what a decoder gets of a file; raise ImageError for one that is empty, unknown or beyond the limits."""
    file.seek(0)
    head = file.read(64)
    if not head:
        raise ImageError("the file is empty")
    name, length = _format(head), file.seek(0, 2)
    if name in IN_MEMORY and length > MAX_IN_MEMORY:
        raise ImageError(f"the file has {length} bytes, where {MAX_IN_MEMORY} of this format can be read")
    return READERS[name](file)


def _format(head: bytes) -> str:
    for name, signatures in SIGNATURES.items():
        if head.startswith(signatures):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        end = int.from_bytes(head[:4], "big")
        brands = [head[start : start + 4] for start in range(8, min(end, len(head)), 4) if start != 12]
        if any(brand in AVIF_BRANDS for brand in brands):
            return "AVIF"
        if any(brand in HEIF_BRANDS for brand in brands):
            return "HEIF"
    raise ImageError(f"not an image of a known format ({NAMES})")


def _read_webp(file: BinaryIO) -> DecoderInput:
    file.seek(0)
    return DecoderInput("WEBP", file, size=_webp_size(file.read(30)), bytes_per_pixel=20)


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """Return the size of the canvas, which the decoder allocates before Pillow reports it."""
    if len(head) < 30:
        return None
    if head[12:16] == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


def _read_avif(file: BinaryIO) -> DecoderInput:
    # Only the boxes of an AVIF decide its orientation, so its EXIF is hidden from the decoder.
    for name, start, stop in _boxes(file):
        if name == b"meta" and stop - start <= MAX_META:
            file.seek(start)
            meta = file.read(stop - start).replace(b"Exif", b"skip")
            file = splice(file, [range(start), meta, range(stop, file.seek(0, 2))])
            break
    return DecoderInput("AVIF", file, bytes_per_pixel=20)


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of each outer box."""
    start, end = 0, file.seek(0, 2)
    for _ in range(MAX_BOXES):
        file.seek(start)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        stop = end if length == 0 else start + length
        if len(head) < 8 or not start + 8 <= stop <= end:
            return
        yield head[4:8], start, stop
        start = stop


def _read_heif(file: BinaryIO) -> DecoderInput:
    try:
        import pillow_heif
    except ImportError:
        raise ImageError(
            "HEIC, which needs pillow-heif: pip install '.[heif]' in vistok's checkout, then --retry-failures"
        ) from None
    pillow_heif.register_heif_opener()
    # Its decoder applies the orientation itself.
    return DecoderInput("HEIF", file, orientation=1, bytes_per_pixel=20)


SIGNATURES: dict[str, tuple[bytes, ...]] = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": tuple(TiffImagePlugin.PREFIXES),
    "BMP": (b"BM",),
}
READERS: dict[str, Callable[[BinaryIO], DecoderInput]] = {
    "JPEG": read_jpeg,
    "PNG": read_png,
    "WEBP": _read_webp,
    "GIF": read_gif,
    "TIFF": read_tiff,
    "BMP": read_bmp,
    "AVIF": _read_avif,
    "HEIF": _read_heif,
}
