"""PNG: chunks that decide the pixels are kept; broken other chunks are no reason to refuse an image."""

import zlib
from typing import BinaryIO

from .decoder_input import DecoderInput, ImageError
from .exif_orientation import orientation_of
from .spliced_file import Piece, splice

MAX_CHUNKS = 1 << 18
"""Twice as many chunks of 8 kB as the largest image has."""
MAX_METADATA = 4 << 20
"""Bytes of a profile or a text; larger ones are skipped."""
BLOCK = 1 << 20
SIGNATURE = 8
GREY, RGB, PALETTE = 0, 2, 3
METADATA = (b"iCCP", b"eXIf", b"iTXt", b"zTXt", b"tEXt", b"tRNS")
XMP = b"XML:com.adobe.xmp"
RAW_EXIF = (b"Raw profile type exif", b"Raw profile type APP1")
"""Keywords under which ImageMagick wrote EXIF before PNG had a chunk for it."""


def read_png(file: BinaryIO) -> DecoderInput:
    """Inspect a PNG file; raise ImageError when a checksum of its header, palette or pixels is wrong."""
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
            kept.append(range(at, min(stop, end)))
        elif name in METADATA and length <= MAX_METADATA:
            content = file.read(length)
            if zlib.crc32(content, zlib.crc32(name)).to_bytes(4, "big") == file.read(4):
                _store(metadata, name, content)
                if name == b"tRNS" and _colour(metadata) == PALETTE and 0 < length <= 256:
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


def _colour(metadata: dict[bytes, bytes]) -> int:
    header = metadata.get(b"IHDR", b"")
    return header[9] if len(header) == 13 else -1


def _transparent(metadata: dict[bytes, bytes]) -> tuple[int, ...]:
    """Return the transparent grey value or colour: 16 bits a value when the image has 16, else 8."""
    bits, colour, content = metadata[b"IHDR"][8], _colour(metadata), metadata.get(b"tRNS", b"")
    wanted = {GREY: 1, RGB: 3}.get(colour, 0)
    if not wanted or len(content) < 2 * wanted or bits not in (1, 2, 4, 8, 16):
        return ()
    largest = (1 << bits) - 1
    values = [int.from_bytes(content[2 * part : 2 * part + 2], "big") & largest for part in range(wanted)]
    return tuple(value if bits == 16 else value * 255 // largest for value in values)


def _checksum(file: BinaryIO, name: bytes, length: int) -> bytes:
    value = zlib.crc32(name)
    while length > 0:
        content = file.read(min(length, BLOCK))
        if not content:
            break
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
