"""AVIF: the EXIF is hidden from the decoder, because only the boxes of an AVIF decide its orientation."""

from collections.abc import Iterator
from typing import BinaryIO

from ..spliced_file import splice
from .decoder_input import DecoderInput

MAX_META = 16 << 20
"""Bytes of a meta box that is searched for EXIF."""
MAX_BOXES = 1000


def read_avif(file: BinaryIO) -> DecoderInput:
    """Inspect an AVIF file."""
    for name, start, stop in _boxes(file):
        if name == b"meta" and stop - start <= MAX_META:
            file.seek(start)
            meta = file.read(stop - start).replace(b"Exif", b"skip")
            file = splice(file, [range(start), meta, range(stop, max(stop, file.seek(0, 2)))])
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
