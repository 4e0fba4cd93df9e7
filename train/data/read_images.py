"""Images of sources, read from their files and preprocessed by threads that work ahead."""

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, NamedTuple, TypeVar

import torch
from torch import Tensor

from ...images.file_entry import Entry
from ...images.opening.open_image import ImageError
from ...images.prefetch import ahead_within
from ...images.preprocessing import load_pixels
from ...tokenizer.preprocessing import PreprocessingConfig
from .unreadable_images import UnreadableCounter, UnreadableImageError, UnreadableLimit

PROCESS_ERRORS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors that every other image would cause too."""
WAITING_BYTES = 1 << 28
"""Bytes (256 MB) of images read ahead; beyond this the threads wait."""

Read = TypeVar("Read")


class ImageReader(NamedTuple):
    """Reads images and applies a tokenizer's preprocessing."""

    preprocessing: PreprocessingConfig
    multiple: int
    """Images of native size are padded to sides that are multiples of this."""
    threads: int = 1

    def image(self, entry: Entry) -> Tensor:
        """Return an image, uint8 `h w c`; raise UnreadableImageError."""
        return read_entry(
            entry, lambda file: torch.from_numpy(load_pixels(file, self.preprocessing, self.multiple).pixels)
        )

    def attempts(self, entries: Iterable[Entry]) -> Iterator[Tensor | UnreadableImageError]:
        """Yield the images in order, or the error in place of one; only a few are in memory at a time."""
        with ThreadPoolExecutor(self.threads) as pool:
            yield from ahead_within(pool, self._attempt, entries, 2 * self.threads, _bytes, WAITING_BYTES)

    def readable(
        self, entries: Sequence[Entry], limit: UnreadableLimit, warn: Callable[[str], None]
    ) -> Iterator[Tensor]:
        """Yield the images that can be read, and warn about the others; raise WorkFailedError at the limit."""
        unreadable = UnreadableCounter(limit, len(entries), warn)
        for attempt in self.attempts(entries):
            if isinstance(attempt, Tensor):
                yield attempt
            else:
                unreadable.add(attempt)

    def _attempt(self, entry: Entry) -> Tensor | UnreadableImageError:
        try:
            return self.image(entry)
        except UnreadableImageError as error:
            return error


def read_entry(entry: Entry, read: Callable[[BinaryIO], Read]) -> Read:
    """Call `read` with the open file of an image, and return its result.

    Raises UnreadableImageError if the image or its file is at fault, and OSError if the process is.
    """
    try:
        with entry.open() as file:
            return read(file)
    except ImageError as error:
        reason = str(error)
    except OSError as error:
        if error.errno in PROCESS_ERRORS:
            raise
        reason = f"the file cannot be read: {error.strerror or error}"
    where = entry.name if entry.name == entry.path else f"{entry.path}: {entry.name}"
    raise UnreadableImageError(f"{where} cannot be used ({reason})")


def _bytes(attempt: Tensor | UnreadableImageError) -> int:
    return attempt.nbytes if isinstance(attempt, Tensor) else 0
