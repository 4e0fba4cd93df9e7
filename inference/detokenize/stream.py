"""Images of token shards as one stream, so that no stage waits: read, batch, decode, save."""

import errno
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image

from ...images.prefetch import ahead, drawn_ahead
from ...images.saving import mark_of, save_png
from ...images.sizes import original_box
from ...tokenizer.numerics.transfer import IN_FLIGHT, Finish, in_flight
from .batching import batches
from .checking import CheckedImage, ImageJob, check

PATH_ERRORS = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)
"""Errors of writing that concern the path of one image only."""
READ_AHEAD = 3
"""Batches of tokens that are read before they are decoded."""
SAVED_AHEAD = 512
"""Images that are being saved, or wait for that."""
WAITING_BYTES = 1 << 27
"""Bytes (128 MB) of these, above which no other batch is decoded."""

Decoded: TypeAlias = tuple[CheckedImage, np.ndarray]
"""An image and its pixels, uint8 `h w c`."""


@dataclass
class Tally:
    """What became of the images so far."""

    report: "Callable[[Tally], None]"
    """Receives the tally after each image, from any thread; cheap."""
    written: int = 0
    there_before: int = 0
    problems: dict[int, str] = field(default_factory=dict)
    """Why an image did not come back, by its number."""

    @property
    def failures(self) -> list[str]:
        """The problems, in the order of the images."""
        return [self.problems[number] for number in sorted(self.problems)]


def save_images(jobs: Generator[ImageJob, None, None], batch_size: int | None, tally: Tally, device: str) -> None:
    """Decode images and write their files; `device` is the type of that of their tokenizers.

    Tokens are read in a thread and files are written in others, while this one decodes. Raises OSError when the disk
    refuses, and what `jobs` raise; images that were begun may then be missing.
    """
    with ExitStack() as stack:  # what is entered last ends first: all stages drop their work when an error ends the run
        savers = ThreadPoolExecutor(thread_name_prefix="vistok-save")
        stack.callback(savers.shutdown, cancel_futures=True)
        stack.enter_context(closing(jobs))
        reader = ThreadPoolExecutor(1, thread_name_prefix="vistok-read")
        stack.callback(reader.shutdown, cancel_futures=True)
        read = drawn_ahead(reader, batches(_missing(jobs, tally), batch_size), READ_AHEAD)
        # A CPU has decoded a batch once it is begun.
        images = _decoded(read, 1 if device == "cpu" else IN_FLIGHT)
        for number, problem in ahead(savers, _saved, images, SAVED_AHEAD, _held, WAITING_BYTES):
            if problem:
                tally.problems[number] = problem
            else:
                tally.written += 1
            tally.report(tally)


def _missing(jobs: Iterable[ImageJob], tally: Tally) -> Iterator[CheckedImage]:
    """Check images and yield those that are not there yet; the others, and those that do not fit, go into the tally."""
    for job in jobs:
        try:
            image = check(job)
        except ValueError as error:
            tally.problems[job.number] = f"{job.where}: {error}"
        else:
            if mark_of(image.path) != image.mark:
                yield image
                continue
            tally.there_before += 1
        tally.report(tally)


def _decoded(batches: Iterable[Sequence[CheckedImage]], begun: int) -> Iterator[Decoded]:
    """Yield the pixels of all images, with at most `begun` batches on their way."""
    for batch, pixels in in_flight(map(_begin, batches), begun):
        yield from zip(batch, pixels, strict=True)


def _begin(batch: Sequence[CheckedImage]) -> Finish[tuple[Sequence[CheckedImage], np.ndarray]]:
    tokens = np.stack([image.tokens for image in batch]).astype(np.int64)
    decoder = batch[0].decoder
    finish = decoder.tokenizer.start_decoding(torch.from_numpy(tokens), *decoder.chosen)
    return lambda: (batch, finish().numpy())


def _held(decoded: Decoded) -> int:
    return decoded[1].nbytes


def _saved(decoded: Decoded) -> tuple[int, str]:
    """Write an image; return its number, and "" or the reason when its path cannot be written to."""
    image, pixels = decoded
    tokenizer = image.decoder.tokenizer
    shown = Image.fromarray(pixels)
    if box := original_box(tokenizer.config.preprocessing, image.height, image.width, tokenizer.downsample):
        shown = shown.crop(box)
    try:
        save_png(image.path, shown, image.mark)
    except OSError as error:
        if error.errno not in PATH_ERRORS:
            raise
        return image.number, f"{image.where}: {image.path} cannot be written ({error.strerror})"
    return image.number, ""
