"""JPEG: segments that decide the pixels are kept; EXIF, XMP and ICC profile are read here."""

import re
from typing import BinaryIO

from ..spliced_file import Piece, splice
from .decoder_input import DecoderInput, ImageError
from .exif_orientation import orientation_of

MAX_SCANS = 500
"""Scans of a progressive image. Encoders write about 10; one for each coefficient and colour would be 190.

Each takes as long as decoding the whole image, however little it holds: 5,000 in a small file took 90 seconds.
"""
MAX_PIXEL_SCANS = 1 << 31
"""Pixels times scans: 16 scans of the largest image."""
MAX_SEGMENTS = 1 << 16
MAX_JUNK = 1 << 16
"""Bytes without a marker between segments."""
MAX_EXIF = 1 << 20
BLOCK = 1 << 16
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
SCAN, END = 0xDA, 0xD9
ALONE = frozenset((0x01, 0xD8, *range(0xD0, 0xD8)))
"""Markers without a segment."""
IN_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A marker in compressed data, where FF also comes before 00 and in restart markers."""


def read_jpeg(file: BinaryIO) -> DecoderInput:
    """Inspect a JPEG file; raise ImageError when it has no scan, or far too many."""
    kept: list[Piece] = [range(2)]
    exif, xmp = b"", b""
    profile: list[bytes] = []
    size, components, has_many_scans = (0, 0), 0, False
    at = 2
    for _ in range(MAX_SEGMENTS):
        marker, start = _next_marker(file, at)
        at = start + 2
        if marker in ALONE:
            continue
        if marker == END:
            raise ImageError("broken image: the file ends before its pixels begin")
        length = int.from_bytes(file.read(2), "big")
        content = file.read(max(0, length - 2))
        if marker == SCAN:
            has_many_scans = has_many_scans or (content[:1] or b"\0")[0] < components
            break
        if marker in FRAMES and len(content) >= 6:
            size, components = (int.from_bytes(content[3:5], "big"), int.from_bytes(content[1:3], "big")), content[5]
            has_many_scans = marker in PROGRESSIVE
        elif content.startswith(b"Exif\0\0") and len(exif) < MAX_EXIF:
            exif += content[6:]
        elif content.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            xmp = content[29:]
        elif content.startswith(b"ICC_PROFILE\0") and len(profile) < 255:
            profile.append(content[12:])
        if not (0xE1 <= marker <= 0xED or marker in (0xEF, 0xFE)):
            kept.append(range(start, at + length))
        at += length
    else:
        raise ImageError(f"JPEG of more than {MAX_SEGMENTS} segments before its pixels")
    if has_many_scans:
        _check_scans(file, at, min(MAX_SCANS, MAX_PIXEL_SCANS // max(1, size[0] * size[1])))
    kept.append(range(start, file.seek(0, 2)))
    return DecoderInput(
        "JPEG",
        splice(file, kept),
        orientation_of(exif, xmp),
        _whole_profile(profile),
        bytes_per_coded_pixel=8 if has_many_scans else 0,
    )


def _next_marker(file: BinaryIO, at: int) -> tuple[int, int]:
    """Return the next marker from `at` on and its offset, skipping junk; the file is left after the marker."""
    file.seek(at)
    head = file.read(2)
    if len(head) == 2 and head[0] == 0xFF and head[1] not in (0, 0xFF):
        return head[1], at
    file.seek(at)
    found = re.search(rb"\xff[^\x00\xff]", file.read(MAX_JUNK))
    if not found:
        raise ImageError("broken image: the file ends before its pixels begin")
    file.seek(at + found.end())
    return found[0][1], at + found.start()


def _check_scans(file: BinaryIO, at: int, limit: int) -> None:
    """Raise ImageError for more than `limit` scans, the first of which has its data at `at`."""
    block, first, count = b"", at, 1
    while count <= limit:
        if at + 4 > first + len(block):
            file.seek(at)
            block, first = file.read(BLOCK), at
        found = IN_SCAN.search(block, at - first)
        if not found and len(block) < BLOCK:
            return
        if not found:
            at = first + len(block) - 1
            continue
        marker = found[0][1]
        if marker == END:
            return
        count += marker == SCAN
        at = first + found.end()
        if marker not in ALONE:
            file.seek(at)
            at += max(2, int.from_bytes(file.read(2), "big"))
    raise ImageError(f"JPEG of more than {limit} scans, which would take minutes to decode")


def _whole_profile(parts: list[bytes]) -> bytes | None:
    """Join the numbered parts of an ICC profile; return None when one is missing."""
    ordered = sorted(part for part in parts if len(part) > 2)
    numbers = [(part[0], part[1]) for part in ordered]
    if not ordered or numbers != [(number, len(ordered)) for number in range(1, len(ordered) + 1)]:
        return None
    return b"".join(part[2:] for part in ordered)
