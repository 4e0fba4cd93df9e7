"""Reading the images of sources, some of which cannot be read: each is named, few are passed over, many end the run."""

import errno
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..images.index import Entry
from ..images.opening import PictureError
from ..images.preprocessing import load_pixels
from ..tokenizer.errors import WorkFailedError
from ..tokenizer.preprocessing import PreprocessingConfig
from .data import SourceConfig, source_pictures
from .tolerance import Tolerance

OF_THE_PROCESS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors of reading that no other image would avoid."""
REMEDY = "repair or remove it, or set data.on_error to skip"

Read = TypeVar("Read")


class UnreadableImageError(WorkFailedError):
    """An image that cannot be used; the message names it and says why."""


def read_entry(entry: Entry, read: Callable[[BinaryIO], Read]) -> Read:
    """Return what `read` makes of the file of an image.

    Raises UnreadableImageError when the fault is that of the image or its file, and OSError when it is that of the process.
    """
    try:
        with entry.open() as file:
            return read(file)
    except PictureError as error:
        reason = str(error)
    except OSError as error:
        if error.errno in OF_THE_PROCESS:
            raise
        reason = f"the file cannot be read: {error.strerror or error}"
    where = entry.name if entry.name == entry.path else f"{entry.path}: {entry.name}"
    raise UnreadableImageError(f"{where} cannot be used ({reason})")


def readable_images(
    sources: Iterable[SourceConfig],
    config: PreprocessingConfig,
    multiple: int,
    tolerance: Tolerance,
    warn: Callable[[str], None],
) -> Iterator[np.ndarray]:
    """Read the images of sources as uint8 `h w c`, brought to the tokenizer's preprocessing; `warn` is told what is left out.

    Raises WorkFailedError when none can be read, or more than `tolerance` allows cannot.
    """
    entries = [entry for source in sources for entry in source_pictures(source)]
    unreadable = 0
    for drawn, entry in enumerate(entries, 1):
        try:
            yield read_entry(entry, lambda file: load_pixels(file, config, multiple).pixels)
        except UnreadableImageError as error:
            if tolerance.stops:
                raise UnreadableImageError(f"{error}: {REMEDY}.") from None
            unreadable += 1
            tolerance.check(unreadable, drawn, str(error))
            if unreadable == len(entries):
                raise WorkFailedError(f"none of the {len(entries)} images can be read; the last: {error}.") from None
            warn(f"{error}: it is left out.")


def validation_images(
    sources: Iterable[SourceConfig],
    config: PreprocessingConfig,
    multiple: int,
    tolerance: Tolerance,
    warn: Callable[[str], None],
) -> list[Tensor]:
    """Return what `readable_images` yields as a list of tensors."""
    return [torch.from_numpy(image.copy()) for image in readable_images(sources, config, multiple, tolerance, warn)]
