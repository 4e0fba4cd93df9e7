"""Which errors are faults of an image, and which of reading it."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from ..errors import ImageError
from .quiet import quietly
from .watched import Watched


@contextmanager
def faults(most_pixels: int, file: io.BytesIO | Watched | None = None) -> Iterator[None]:
    """Turn what decoders raise on broken files into ImageError; let errors of reading and of memory through."""
    try:
        with quietly():
            yield
    except (ImageError, MemoryError):
        _raise_error_of_reading(file)
        raise
    except Image.DecompressionBombError as error:  # Pillow's own limit, which it tells in pixels alone
        claimed = re.search(r"\d+", str(error))
        raise ImageError(f"{claimed[0] if claimed else 'it'} is more than {most_pixels} pixels") from None
    except Exception as error:  # SyntaxError, struct.error, OverflowError, ...
        _raise_error_of_reading(file)
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ImageError(f"broken image: {_phrase(error)}") from None
    _raise_error_of_reading(file)


def _raise_error_of_reading(file: io.BytesIO | Watched | None) -> None:
    if isinstance(file, Watched) and file.error:
        raise file.error


def _phrase(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
