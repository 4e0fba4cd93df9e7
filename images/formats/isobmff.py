"""AVIF and HEIC: boxes in boxes, of which only the EXIF is touched."""

from collections.abc import Iterator
from typing import BinaryIO

from .pieces import joined
from .source import Source

LARGEST_META = 16 << 20
BOXES = 1000


def read_avif(file: BinaryIO) -> Source:
    """Look at an AVIF file; its EXIF is hidden, as boxes of its own alone say how an AVIF is turned."""
    for name, start, stop in _boxes(file):
        if name == b"meta" and stop - start <= LARGEST_META:
            file.seek(start)
            meta = file.read(stop - start).replace(b"Exif", b"skip")
            file = joined(file, [range(start), meta, range(stop, max(stop, file.seek(0, 2)))])
            break
    return Source("AVIF", file, bytes_per_pixel=20)


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, the start and the end of each outer box."""
    start, end = 0, file.seek(0, 2)
    for _ in range(BOXES):
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
