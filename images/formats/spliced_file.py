"""A file made of byte ranges of another, so that a decoder sees only what decides the pixels. Nothing large is copied."""

import bisect
import io
import itertools
from collections.abc import Sequence
from typing import BinaryIO, TypeAlias, cast

Piece: TypeAlias = range | bytes
"""A byte range of the original file, or bytes that replace some."""


def splice(file: BinaryIO, pieces: Sequence[Piece]) -> BinaryIO:
    """Return the pieces of a file one after another: copied if the file is in memory, else read on demand."""
    if _keeps_all(pieces):
        return file
    if isinstance(file, io.BytesIO):
        content = file.getvalue()
        parts = (piece if isinstance(piece, bytes) else content[piece.start : piece.stop] for piece in pieces)
        return io.BytesIO(b"".join(parts))
    return cast(BinaryIO, SplicedFile(file, pieces))


def _keeps_all(pieces: Sequence[Piece]) -> bool:
    """Return whether ranges begin at the first byte and leave nothing out; bytes after the last range do not matter."""
    at = 0
    for piece in pieces:
        if isinstance(piece, bytes) or piece.start != at:
            return False
        at = piece.stop
    return True


class SplicedFile(io.RawIOBase):
    """A seekable file of pieces of another file; errors of reading that file pass through."""

    def __init__(self, file: BinaryIO, pieces: Sequence[Piece]):
        self._file = file
        self._pieces = [piece for piece in pieces if len(piece)]
        self._ends = list(itertools.accumulate(len(piece) for piece in self._pieces))
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("negative seek position")
        self._at = start + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._size - self._at if size is None or size < 0 else size
        found = []
        while wanted > 0 and self._at < self._size:
            content = self._read_piece(bisect.bisect_right(self._ends, self._at), wanted)
            if not content:
                break  # the file is shorter than its pieces
            found.append(content)
            self._at += len(content)
            wanted -= len(content)
        return found[0] if len(found) == 1 else b"".join(found)

    @property
    def _size(self) -> int:
        return self._ends[-1] if self._ends else 0

    def _read_piece(self, index: int, wanted: int) -> bytes:
        piece = self._pieces[index]
        start = self._at - (self._ends[index] - len(piece))
        part = piece[start : start + wanted]
        if isinstance(part, bytes):
            return part
        self._file.seek(part.start)
        return self._file.read(len(part))
