"""A file made of byte ranges of another, so that a reader sees only these. Nothing large is copied."""

import bisect
import errno
import io
import itertools
from collections.abc import Sequence
from typing import BinaryIO, TypeAlias

Piece: TypeAlias = range | bytes
"""A byte range of the original file, or bytes that replace some."""


def splice(file: BinaryIO, pieces: Sequence[Piece]) -> BinaryIO:
    """Return the pieces of a file one after another, as far as it has them: copied from memory, or read on demand."""
    end = file.seek(0, 2)
    pieces = [piece if isinstance(piece, bytes) else range(piece.start, min(piece.stop, end)) for piece in pieces]
    if isinstance(file, io.BytesIO):
        content = file.getvalue()
        parts = (piece if isinstance(piece, bytes) else content[piece.start : piece.stop] for piece in pieces)
        return io.BytesIO(b"".join(parts))
    return io.BufferedReader(SplicedFile(file, pieces))


class SplicedFile(io.RawIOBase):
    """A seekable file of pieces of another file, which it closes; a file that became shorter is an OSError."""

    def __init__(self, file: BinaryIO, pieces: Sequence[Piece]):
        self._file = file
        self._pieces = [piece for piece in pieces if len(piece)]
        self._ends = list(itertools.accumulate(len(piece) for piece in self._pieces))
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        size = self._ends[-1] if self._ends else 0
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative seek position {start + offset}")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        index = bisect.bisect_right(self._ends, self._at)
        if index == len(self._pieces):
            return 0
        piece = self._pieces[index]
        start = self._at - (self._ends[index] - len(piece))
        part = piece[start : start + len(buffer)]
        if isinstance(part, range):
            self._file.seek(part.start)
            content = self._file.read(len(part))
        else:
            content = part
        if len(content) < len(part):
            raise OSError(errno.EIO, "the file is shorter than it was", getattr(self._file, "name", None))
        memoryview(buffer)[: len(content)] = content
        self._at += len(content)
        return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()
