"""PNG: chunks that decide the pixels are kept, and what Pillow makes of transparency and missing rows is corrected."""

import zlib
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile

from ..row_strips import by_strips
from ..spliced_file import Piece, splice
from .decoder_input import MAX_METADATA, DecoderInput, ImageError
from .exif_orientation import orientation_of

MAX_CHUNKS = 1 << 18
"""Twice as many chunks of 8 kB as the largest image has."""
BLOCK = 1 << 20
SIGNATURE = 8
GREY, RGB, PALETTE = b"\0", b"\2", b"\3"
METADATA = (b"iCCP", b"eXIf", b"iTXt", b"zTXt", b"tEXt", b"tRNS")
XMP = b"XML:com.adobe.xmp"
RAW_EXIF = (b"Raw profile type exif", b"Raw profile type APP1")
"""Keywords under which ImageMagick wrote EXIF before PNG had a chunk for it."""


def read_png(file: BinaryIO) -> DecoderInput:
    """Inspect a PNG file; raise ImageError when a checksum of its header, palette or pixels is wrong.

    Other chunks are left out when they are broken.
    """
    kept: list[Piece] = [range(SIGNATURE)]
    metadata: dict[bytes, bytes] = {}
    end = file.seek(0, 2)
    at = SIGNATURE
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        head = file.read(8)
        name, length = head[4:], int.from_bytes(head[:4], "big")
        stop = at + 12 + length
        if len(head) < 8 or (stop > end and name != b"IDAT"):
            break
        if name in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
            if stop <= end and _checksum(file, name, length) != file.read(4):
                raise ImageError(f"broken image: wrong checksum in {name.decode()}")
            if name == b"IHDR":
                file.seek(at + 8)
                metadata[name] = file.read(13)
            kept.append(range(at, stop))
        elif name in METADATA and length <= MAX_METADATA:
            content = file.read(length)
            if zlib.crc32(content, zlib.crc32(name)).to_bytes(4, "big") == file.read(4):
                _store(metadata, name, content)
                if name == b"tRNS" and metadata.get(b"IHDR", b"")[9:10] == PALETTE and 0 < length <= 256:
                    kept.append(range(at, stop))
        at = stop
        if name == b"IEND":
            break
    else:
        raise ImageError(f"PNG of more than {MAX_CHUNKS} chunks")
    if len(metadata.get(b"IHDR", b"")) < 13:
        raise ImageError("broken image: the file has no header")
    exif = next((metadata[name] for name in (b"eXIf", *RAW_EXIF) if name in metadata), b"")
    return DecoderInput(
        "PNG",
        splice(file, kept),
        orientation_of(exif, metadata.get(XMP, b"")),
        metadata.get(b"iCCP"),
        transparent=_transparent(metadata),
    )


def add_alpha_of_16_bits(image: ImageFile.ImageFile, source: DecoderInput) -> None:
    """Make the transparent colour of a 16-bit PNG transparent; Pillow keeps only the upper 8 bits of each value."""
    lower = Image.open(source.file, formats=["PNG"])
    lower.tile = [tile._replace(args="RGB;16L") for tile in lower.tile]  # the lower byte of each value
    upper_key, lower_key = ([part >> shift & 255 for part in source.transparent] for shift in (8, 0))

    def alpha(upper: Image.Image, lower: Image.Image) -> Image.Image:
        same = (np.asarray(upper) == upper_key).all(axis=2) & (np.asarray(lower) == lower_key).all(axis=2)
        return Image.fromarray(np.where(same, 0, 255).astype(np.uint8))

    image.putalpha(by_strips(alpha, image, lower))


def check_rows(image: ImageFile.ImageFile, source: DecoderInput) -> None:
    """Raise ImageError when rows are missing: the data may end early without an error, which leaves them black."""
    last = (0, max(0, image.height - 2), *image.size)  # two, because interlacing stores odd rows last
    rows = np.asarray(image.crop(last))
    if image.height > 1 and all(row.any() for row in rows):
        return
    again = Image.open(source.file, formats=["PNG"])
    again.im = Image.new(again.mode, again.size, (255,) * len(again.getbands())).im
    again.load()
    if not np.array_equal(np.asarray(again.crop(last)), rows):
        raise ImageError("broken image: rows are missing")


def _transparent(metadata: dict[bytes, bytes]) -> tuple[int, ...]:
    bits, colour, content = metadata[b"IHDR"][8], metadata[b"IHDR"][9:10], metadata.get(b"tRNS", b"")
    wanted = {GREY: 1, RGB: 3}.get(colour, 0)
    if not wanted or len(content) < 2 * wanted or bits not in (1, 2, 4, 8, 16):
        return ()
    largest = (1 << bits) - 1
    values = [int.from_bytes(content[2 * part : 2 * part + 2], "big") & largest for part in range(wanted)]
    return tuple(value if bits == 16 else value * 255 // largest for value in values)


def _checksum(file: BinaryIO, name: bytes, length: int) -> bytes:
    value = zlib.crc32(name)
    while length > 0 and (content := file.read(min(length, BLOCK))):
        value = zlib.crc32(content, value)
        length -= len(content)
    return value.to_bytes(4, "big")


def _store(metadata: dict[bytes, bytes], name: bytes, content: bytes) -> None:
    """Store the content of a chunk under its name, or that of a text under its keyword, decompressed."""
    if name in (b"eXIf", b"tRNS"):
        metadata.setdefault(name, content)
        return
    keyword, _, rest = content.partition(b"\0")
    if name == b"iCCP":
        metadata.setdefault(name, _decompressed(rest[1:]))
    elif keyword in RAW_EXIF:
        text = _decompressed(rest[1:]) if name == b"zTXt" else rest
        metadata.setdefault(keyword, _from_hex(text))
    elif keyword == XMP and name == b"iTXt":
        packed, text = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
        metadata.setdefault(keyword, _decompressed(text) if packed else text)


def _decompressed(content: bytes) -> bytes:
    """Decompress; return nothing when the data are broken or too large."""
    decompressor = zlib.decompressobj()
    try:
        content = decompressor.decompress(content, MAX_METADATA)
    except zlib.error:
        return b""
    return b"" if decompressor.unconsumed_tail else content


def _from_hex(text: bytes) -> bytes:
    """Return the bytes of a raw profile: an empty line, its type, its length, and lines of hexadecimal digits."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return b""
