"""Silence around decoders: what they have to say of odd files is in the errors."""

import ctypes
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from PIL import _imaging


class _Decoding(threading.local):
    """Stands in the list of warning filters for a module: Pillow's, in threads that decode for us and no others."""

    depth = 0

    def match(self, module: str) -> bool:
        return self.depth > 0 and module.startswith("PIL.")


_DECODING = _Decoding()
_FILTER: Any = ("ignore", None, Warning, _DECODING, 0)


@contextmanager
def quietly() -> Iterator[None]:
    """Ignore the warnings of Pillow in this thread; those of other threads, and of other modules, are left alone."""
    # catch_warnings would change the filters of all threads, and may leave them changed.
    if _FILTER not in warnings.filters:
        warnings.filters.insert(0, _FILTER)  # type: ignore[attr-defined]
    _DECODING.depth += 1
    try:
        yield
    finally:
        _DECODING.depth -= 1


@lru_cache(maxsize=1)
def silence_libtiff() -> None:
    """Keep libtiff from writing to the standard error, where Pillow lets it; its errors reach us by Pillow's own."""
    try:
        library = ctypes.CDLL(_imaging.__file__)
        handlers = library.TIFFSetErrorHandler, library.TIFFSetWarningHandler
    except (OSError, AttributeError):
        return  # built into Pillow without a name: its messages stay
    for handler in handlers:
        handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        handler(None)
