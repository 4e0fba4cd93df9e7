"""Read the blocks of a tar file, and refuse it where something is missing, broken or too much."""

import errno
import os
from typing import BinaryIO, NoReturn

from ...tokenizer.errors import WorkFailedError
from ..file_entry import printable
from .fields import BLOCK, Header, parse_header

MAX_END = (2 + 20) * BLOCK
"""A tar ends with fewer zeros than this: two blocks, and at most one record of 20 blocks."""
CHUNK = 1 << 20
_OTHER_FORMATS = {
    b"\x1f\x8b": "compressed with gzip",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ\0": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"\x04\x22\x4d\x18": "compressed with lz4",
    b"LZIP": "compressed with lzip",
    b"\x1f\x9d": "compressed with compress",
    b"PK\x03\x04": "a zip archive",
}


class DamagedShard(WorkFailedError):
    """A tar that has lost something, or is not a tar; the message is a sentence that names the file."""


class TarBlocks:
    """An open tar file; `previous` is the name of the last complete member, for messages."""

    def __init__(self, path: str, file: BinaryIO):
        self.path = path
        self.file = file
        self.size = file.seek(0, os.SEEK_END)
        self.previous = ""

    def read(self, at: int, count: int) -> bytes:
        """Return `count` bytes, fewer where the file ends; raise OSError when they cannot be read."""
        self.file.seek(at)
        content = self.file.read(count)
        if len(content) < min(count, self.size - at):
            raise OSError(errno.EIO, "the file is shorter than it was", self.path)
        return content

    def header(self, at: int) -> Header | None:
        """Return the header at `at`, or None at the end mark; raise DamagedShard for anything else."""
        block = self.read(at, BLOCK) if at < self.size else b""
        if len(block) == BLOCK and not any(block):
            return None
        header = parse_header(block, at)
        if header is None and at == 0:
            self._refuse_other_format(block)
        if at >= self.size:
            self.refuse(f"is cut off at {self._position(self.size)}, before the end mark of a tar")
        if len(block) < BLOCK:
            self.refuse(f"is cut off within the header at {self._position(at)}")
        if header is None:
            self.refuse(f"has a broken header at {self._position(at)}")
        return header

    def check_end(self, at: int) -> None:
        """Raise DamagedShard unless the tar ends at `at`: two blocks of zeros, and at most a record in all."""
        for start in range(at, self.size, CHUNK):
            chunk = self.read(start, CHUNK)
            if data := chunk.lstrip(b"\0"):
                self._refuse_data_after_end(at, start + len(chunk) - len(data))
        if self.size - at < 2 * BLOCK:
            self.refuse(f"is cut off within the end mark at {self._position(at)}")
        if self.size - at >= MAX_END:
            # `tar --concatenate` and an interrupted download leave the same zeros.
            self.refuse(
                f"has {self.size - at} zeros from {self._position(at)} on, where a tar ends with fewer than {MAX_END} "
                "(a download that stopped leaves them, or `tar --concatenate`)"
            )

    def refuse(self, what: str) -> NoReturn:
        """Raise DamagedShard with a sentence."""
        raise DamagedShard(f"{printable(self.path)} {what}: repair or leave it out.")

    def _position(self, at: int) -> str:
        return f"byte {at}" + (f" (after {printable(self.previous)})" if self.previous else "")

    def _refuse_other_format(self, block: bytes) -> NoReturn:
        if not block:
            self.refuse("is empty, not a tar")
        for magic, name in _OTHER_FORMATS.items():
            if block.startswith(magic):
                raise DamagedShard(f"{printable(self.path)} is {name}, not a plain tar: unpack or leave it out.")
        self.refuse("does not begin with a valid header of a tar")

    def _refuse_data_after_end(self, end: int, first: int) -> NoReturn:
        block = first // BLOCK * BLOCK
        if block - end >= 2 * BLOCK and parse_header(self.read(block, BLOCK), block):
            raise DamagedShard(
                f"{printable(self.path)} continues at byte {block}, after its end mark at byte {end}: if two tars were joined, "
                "give them one by one, else repair or leave it out."
            )
        self.refuse(f"has zeros at {self._position(end)} where a header should be, and data from byte {first} on")
