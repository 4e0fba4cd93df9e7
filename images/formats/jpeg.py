"""JPEG: the segments that decide the pixels are kept, the others are read here."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from ..errors import ImageError
from .exif import orientation
from .pieces import Piece, joined
from .source import Source

SCANS = 500
"""More passes over an image are refused. Encoders make about 10; one for each coefficient and colour would be 190.

Each takes as long as an image of one pass, whatever little it holds: 5,000 of them in a small file took 90 seconds.
"""
PIXEL_SCANS = 1 << 31
"""Pixels times passes: 16 passes over the largest image."""
SEGMENTS = 1 << 16
JUNK = 1 << 16
LARGEST_EXIF = 1 << 20
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
SCAN, END = 0xDA, 0xD9
ALONE = frozenset((0x01, 0xD8, *range(0xD0, 0xD8)))
"""Markers without a segment."""
IN_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A marker amid compressed data, where FF stands before 00 and before the marks of a restart."""


def read_jpeg(file: BinaryIO) -> Source:
    """Look at a JPEG file; raise ImageError when it has no scan, or far too many."""
    kept: list[Piece] = [range(2)]
    exif, xmp = b"", b""
    profile: list[bytes] = []
    size, parts, many = (0, 0), 0, False
    at = 2
    for _ in range(SEGMENTS):
        marker, place = _next_marker(file, at)
        at = place + 2
        if marker in ALONE:
            continue
        if marker == END:
            raise ImageError("broken image: the file ends before its pixels begin")
        length = int.from_bytes(file.read(2), "big")
        content = file.read(max(0, length - 2))
        if marker == SCAN:
            many = many or (content[:1] or b"\0")[0] < parts
            break
        if marker in FRAMES and len(content) >= 6:
            size, parts = (int.from_bytes(content[3:5], "big"), int.from_bytes(content[1:3], "big")), content[5]
            many = marker in PROGRESSIVE
        elif content.startswith(b"Exif\0\0") and len(exif) < LARGEST_EXIF:
            exif += content[6:]
        elif content.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            xmp = content[29:]
        elif content.startswith(b"ICC_PROFILE\0") and len(profile) < 255:
            profile.append(content[12:])
        if not (0xE1 <= marker <= 0xED or marker in (0xEF, 0xFE)):
            kept.append(range(place, at + length))
        at += length
    else:
        raise ImageError(f"JPEG of more than {SEGMENTS} segments before its pixels")
    if many:
        _count_scans(file, at, min(SCANS, PIXEL_SCANS // max(1, size[0] * size[1])))
    kept.append(range(place, file.seek(0, 2)))
    return Source(
        "JPEG",
        joined(file, kept),
        orientation(exif, xmp),
        _whole_profile(profile),
        bytes_per_coded_pixel=8 if many else 0,
    )


def _next_marker(file: BinaryIO, at: int) -> tuple[int, int]:
    """Return the marker at a place or, after junk, behind it, and its place; the file is left behind the marker."""
    file.seek(at)
    head = file.read(2)
    if len(head) == 2 and head[0] == 0xFF and head[1] not in (0, 0xFF):
        return head[1], at
    file.seek(at)
    found = re.search(rb"\xff[^\x00\xff]", file.read(JUNK))
    if not found:
        raise ImageError("broken image: the file ends before its pixels begin")
    file.seek(at + found.end())
    return found[0][1], at + found.start()


def _count_scans(file: BinaryIO, at: int, most: int) -> None:
    count = 1
    for marker in _markers(file, at):
        count += marker == SCAN
        if count > most:
            raise ImageError(f"JPEG of more than {most} scans, which would take minutes to decode")


def _markers(file: BinaryIO, start: int) -> Iterator[int]:
    """Yield the markers from the first scan on to the end of the image."""
    block, first, at = b"", start, start
    while True:
        if at + 4 > first + len(block):
            file.seek(at)
            block, first = file.read(1 << 16), at
        found = IN_SCAN.search(block, at - first)
        if not found:
            if len(block) < 1 << 16:
                return
            at = first + len(block) - 1
            continue
        marker = found[0][1]
        yield marker
        if marker == END:
            return
        at = first + found.end()
        if marker not in ALONE:
            file.seek(at)
            at += max(2, int.from_bytes(file.read(2), "big"))


def _whole_profile(parts: list[bytes]) -> bytes | None:
    """Return the profile from its numbered parts, None when one is missing."""
    ordered = sorted(part for part in parts if len(part) > 2)
    numbers = [(part[0], part[1]) for part in ordered]
    if not ordered or numbers != [(number, len(ordered)) for number in range(1, len(ordered) + 1)]:
        return None
    return b"".join(part[2:] for part in ordered)
