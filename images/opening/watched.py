"""A file whose errors of reading are remembered: some decoders take them for faults of the image."""

import io
from typing import BinaryIO


class Watched(io.RawIOBase):
    """The file `file`, to be read and sought; `error` is the first that reading it raised."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.error: Exception | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        try:
            return self._file.read(-1 if size is None else size)
        except (OSError, MemoryError) as error:
            self.error = self.error or error
            raise
