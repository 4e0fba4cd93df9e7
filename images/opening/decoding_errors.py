"""Around decoders: their errors become ImageError, errors of reading the file pass through, and their warnings are silent."""

import ctypes
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, BinaryIO

from PIL import _imaging

from ..formats.decoder_input import ImageError


class ErrorKeepingFile(io.RawIOBase):
    """A seekable file that keeps the first error of reading, because some decoders report it as a broken image."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.error: Exception | None = None

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        try:
            return self._file.read(-1 if size is None else size)
        except (OSError, MemoryError) as error:
            self.error = self.error or error
            raise


@contextmanager
def as_image_errors(file: io.BytesIO | ErrorKeepingFile | None = None) -> Iterator[None]:
    """Turn what decoders raise for broken files into ImageError; let errors of reading and of memory pass."""
    try:
        with _without_pillow_warnings():
            yield
    except Exception as error:  # SyntaxError, struct.error, OverflowError, ...
        raise getattr(file, "error", None) or _as_image_error(error) from None
    if isinstance(file, ErrorKeepingFile) and file.error:
        raise file.error


def _as_image_error(error: Exception) -> Exception:
    if isinstance(error, ImageError | MemoryError) or (isinstance(error, OSError) and error.errno is not None):
        return error
    return ImageError(f"broken image: {' '.join(str(error).split()) or type(error).__name__}")


class _DecodingThread(threading.local):
    """Acts as the module pattern of a warning filter that matches Pillow's modules in threads that decode for us."""

    depth = 0

    def match(self, module: str) -> bool:
        return self.depth > 0 and module.startswith("PIL.")


_DECODING = _DecodingThread()
_FILTER: Any = ("ignore", None, Warning, _DECODING, 0)


@contextmanager
def _without_pillow_warnings() -> Iterator[None]:
    # catch_warnings would change the filters of all threads, and could leave them changed.
    if _FILTER not in warnings.filters:
        warnings.filters.insert(0, _FILTER)  # type: ignore[attr-defined]
    _DECODING.depth += 1
    try:
        yield
    finally:
        _DECODING.depth -= 1


@lru_cache(maxsize=1)
def silence_libtiff() -> None:
    """Keep libtiff from writing to standard error, where its symbols are exported; Pillow still raises its errors."""
    try:
        library = ctypes.CDLL(_imaging.__file__)
        handlers = library.TIFFSetErrorHandler, library.TIFFSetWarningHandler
    except (OSError, AttributeError):
        return  # linked into Pillow without exported symbols: its messages stay
    for handler in handlers:
        handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        handler(None)
