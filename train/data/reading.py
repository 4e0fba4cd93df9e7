"""Reading the images of sources, some of which cannot be read: each is named, few are passed over, many end the work."""

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, NamedTuple, TypeVar

import torch
from torch import Tensor

from ...images.finding.index import Entry
from ...images.opening.open_image import ImageError
from ...images.prefetch import Room, ahead
from ...images.preprocessing import load_pixels
from ...tokenizer.errors import WorkFailedError
from ...tokenizer.preprocessing import PreprocessingConfig
from .tolerance import REMEDY, Tolerance

OF_THE_PROCESS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors of reading that no other image would avoid."""
WAITING_BYTES = 1 << 28
"""Bytes (256 MB) of images that were read and wait to be taken, from which on no other is begun."""

Read = TypeVar("Read")


class UnreadableImageError(Exception):
    """An image that cannot be used; the message names it and says why. Users never see it as such."""


class Reader(NamedTuple):
    """How images are read: brought to a tokenizer's preprocessing, by threads that run ahead."""

    preprocessing: PreprocessingConfig
    multiple: int
    """What sides of native size are padded to a multiple of."""
    threads: int = 1

    def image(self, entry: Entry) -> Tensor:
        """Return an image, uint8 `h w c`; raise UnreadableImageError."""
        return read_entry(
            entry, lambda file: torch.from_numpy(load_pixels(file, self.preprocessing, self.multiple).pixels)
        )

    def attempts(self, entries: Iterable[Entry]) -> Iterator[Tensor | UnreadableImageError]:
        """Yield the images in their order, or the errors in their place; few are in memory at a time."""
        # The room closes first: threads that wait for it must end before the pool does.
        with ThreadPoolExecutor(self.threads) as pool, Room(WAITING_BYTES) as room:
            begun = ahead(pool, room.bounded(self._attempt, _bytes), enumerate(entries), 2 * self.threads)
            yield from room.taken(begun)

    def _attempt(self, entry: Entry) -> Tensor | UnreadableImageError:
        try:
            return self.image(entry)
        except UnreadableImageError as error:
            return error


def _bytes(attempt: Tensor | UnreadableImageError) -> int:
    return attempt.nbytes if isinstance(attempt, Tensor) else 0


def read_entry(entry: Entry, read: Callable[[BinaryIO], Read]) -> Read:
    """Return what `read` makes of the file of an image.

    Raises UnreadableImageError when the fault is that of the image or its file, and OSError when it is that of the process.
    """
    try:
        with entry.open() as file:
            return read(file)
    except ImageError as error:
        reason = str(error)
    except OSError as error:
        if error.errno in OF_THE_PROCESS:
            raise
        reason = f"the file cannot be read: {error.strerror or error}"
    where = entry.name if entry.name == entry.path else f"{entry.path}: {entry.name}"
    raise UnreadableImageError(f"{where} cannot be used ({reason})")


def readable_images(
    entries: Sequence[Entry], reader: Reader, tolerance: Tolerance, warn: Callable[[str], None]
) -> Iterator[Tensor]:
    """Read images one after the other as uint8 `h w c`; `warn` is told what is left out.

    Raises WorkFailedError when none can be read, or more of them than `tolerance` allows cannot.
    """
    unreadable = 0
    for attempt in reader.attempts(entries):
        if isinstance(attempt, Tensor):
            yield attempt
            continue
        if tolerance.stops:
            raise stopped_at(attempt)
        unreadable += 1
        tolerance.check(unreadable, len(entries), str(attempt))
        if unreadable == len(entries):
            raise none_readable(len(entries), str(attempt))
        warn(f"{attempt}: it is left out.")


def stopped_at(error: UnreadableImageError) -> WorkFailedError:
    """Return the error that ends the work at the first unreadable image, where the config says so."""
    return WorkFailedError(f"{error}: {REMEDY}.")


def none_readable(images: int, last: str) -> WorkFailedError:
    """Return the error of a collection without a single readable image."""
    return WorkFailedError(f"none of the {images} images can be read; the last: {last}: check that the disk is there.")
