"""PNG: the chunks that decide the pixels are kept; the others are read here, and none of them is a reason to refuse."""

import zlib
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile

from ..errors import ImageError
from ..strips import strips
from .exif import orientation
from .pieces import Piece, joined
from .source import Source

CHUNKS = 1 << 18
"""More chunks are refused: the largest image has half as many, of 8 kB."""
LARGEST_FACT = 4 << 20
"""Bytes of a profile or a text that are read; larger ones are passed over."""
BLOCK = 1 << 20
SIGNATURE = 8
GREY, RGB, PALETTE = 0, 2, 3
FACTS = (b"iCCP", b"eXIf", b"iTXt", b"zTXt", b"tEXt", b"tRNS")
XMP = b"XML:com.adobe.xmp"
RAW_EXIF = (b"Raw profile type exif", b"Raw profile type APP1")
"""Where ImageMagick wrote EXIF before PNG had a chunk for it."""


def read_png(file: BinaryIO) -> Source:
    """Look at a PNG file; raise ImageError when a checksum of its header, palette or pixels is wrong."""
    kept: list[Piece] = [range(SIGNATURE)]
    facts: dict[bytes, bytes] = {}
    end = file.seek(0, 2)
    at = SIGNATURE
    for _ in range(CHUNKS):
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
                facts[name] = file.read(13)
            kept.append(range(at, min(stop, end)))
        elif name in FACTS and length <= LARGEST_FACT:
            content = file.read(length)
            if zlib.crc32(content, zlib.crc32(name)).to_bytes(4, "big") == file.read(4):
                _note(facts, name, content)
                if name == b"tRNS" and _colour(facts) == PALETTE and 0 < length <= 256:
                    kept.append(range(at, stop))
        at = stop
        if name == b"IEND":
            break
    else:
        raise ImageError(f"PNG of more than {CHUNKS} chunks")
    if len(facts.get(b"IHDR", b"")) < 13:
        raise ImageError("broken image: the file has no header")
    exif = next((facts[name] for name in (b"eXIf", *RAW_EXIF) if name in facts), b"")
    return Source(
        "PNG", joined(file, kept), orientation(exif, facts.get(XMP, b"")), facts.get(b"iCCP"), key=_transparent(facts)
    )


def _colour(facts: dict[bytes, bytes]) -> int:
    header = facts.get(b"IHDR", b"")
    return header[9] if len(header) == 13 else -1


def _transparent(facts: dict[bytes, bytes]) -> tuple[int, ...]:
    """Return the grey value or colour that is transparent: of 16 bits where the image has 16, and of 8 otherwise."""
    bits, colour, content = facts[b"IHDR"][8], _colour(facts), facts.get(b"tRNS", b"")
    wanted = {GREY: 1, RGB: 3}.get(colour, 0)
    if not wanted or len(content) < 2 * wanted or bits not in (1, 2, 4, 8, 16):
        return ()
    largest = (1 << bits) - 1
    values = [int.from_bytes(content[2 * part : 2 * part + 2], "big") & largest for part in range(wanted)]
    return tuple(value if bits == 16 else value * 255 // largest for value in values)


def put_alpha(image: ImageFile.ImageFile, source: Source) -> None:
    """Make transparent what has the transparent colour of a PNG of 16 bits, of which Pillow keeps the upper 8."""
    lower = Image.open(source.file, formats=["PNG"])
    lower.tile = [tile._replace(args="RGB;16L") for tile in lower.tile]  # the other byte of each pair
    upper_key, lower_key = ([part >> shift & 255 for part in source.key] for shift in (8, 0))
    alpha, top = Image.new("L", image.size), 0
    for upper, low in zip(strips(image), strips(lower), strict=True):
        same = (np.asarray(upper) == upper_key).all(axis=2) & (np.asarray(low) == lower_key).all(axis=2)
        alpha.paste(Image.fromarray(np.where(same, 0, 255).astype(np.uint8)), (0, top))
        top += upper.height
    image.putalpha(alpha)


def check_rows(image: ImageFile.ImageFile, source: Source) -> None:
    """Raise ImageError when rows are missing: compressed data may end early without an error, and leave them black."""
    last = (0, max(0, image.height - 2), *image.size)  # two, for interlacing brings odd rows last
    rows = np.asarray(image.crop(last))
    if image.height > 1 and all(row.any() for row in rows):
        return
    again = Image.open(source.file, formats=["PNG"])
    again.im = Image.new(again.mode, again.size, (255,) * len(again.getbands())).im
    again.load()
    if not np.array_equal(np.asarray(again.crop(last)), rows):
        raise ImageError("broken image: rows are missing")


def _checksum(file: BinaryIO, name: bytes, length: int) -> bytes:
    value = zlib.crc32(name)
    while length > 0:
        content = file.read(min(length, BLOCK))
        if not content:
            break
        value = zlib.crc32(content, value)
        length -= len(content)
    return value.to_bytes(4, "big")


def _note(facts: dict[bytes, bytes], name: bytes, content: bytes) -> None:
    """Keep the facts of a chunk: as they are, unpacked, or under the keyword of a text."""
    if name in (b"eXIf", b"tRNS"):
        facts.setdefault(name, content)
        return
    keyword, _, rest = content.partition(b"\0")
    if name == b"iCCP":
        facts.setdefault(name, _unpacked(rest[1:]))
    elif keyword in RAW_EXIF:
        text = _unpacked(rest[1:]) if name == b"zTXt" else rest
        facts.setdefault(keyword, _from_hex(text))
    elif keyword == XMP and name == b"iTXt":
        packed, text = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
        facts.setdefault(keyword, _unpacked(text) if packed else text)


def _unpacked(content: bytes) -> bytes:
    """Return what was compressed, empty when it is broken or too large."""
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(content, LARGEST_FACT)
    except zlib.error:
        return b""
    return b"" if unpacker.unconsumed_tail else unpacked


def _from_hex(text: bytes) -> bytes:
    """Return the bytes of a raw profile: an empty line, its kind, its length, and lines of digits."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return b""
