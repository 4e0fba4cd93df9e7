"""Quality on held-out images, which are read again at each validation, by each process its part of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from ..evaluation.metrics import psnr
from ..images.file_entry import Entry
from ..images.preprocessing import to_pixels
from ..tokenizer.errors import WorkFailedError
from ..tokenizer.numerics.exact import DEVICE_BATCH, batch_for, in_batches, run_exactly
from ..tokenizer.shapes import Pixels
from .data.read_images import ImageReader
from .data.unreadable_images import IGNORED, LEFT_OUT, UnreadableImageError, UnreadableLimit

UNITS = 1 << 24
"""Units in a dB. Sums of whole units do not depend on their order, and float32 is no finer."""


class _ProcessResult(NamedTuple):
    """What one process measured on its images."""

    psnr: int
    """Sum over the images with a finite PSNR, in units."""
    not_finite: float
    """Sum over the others: 0, infinite or NaN."""
    images: int
    unreadable: list[str]
    """A message about each image that could not be read."""
    error: Exception | None
    """Why this process did not finish."""


class Validation:
    """Held-out images; a process keeps only those in memory that it is working on."""

    def __init__(
        self,
        entries: Sequence[Entry],
        reader: ImageReader,
        limit: UnreadableLimit,
        accelerator: Accelerator,
        warn: Callable[[str], None],
    ):
        self._entries = entries
        self._reader = reader
        self._limit = limit
        self._accelerator = accelerator
        self._warn = warn
        self._named: set[str] = set()
        """Messages about unreadable images of earlier validations."""
        self._samples: list[Tensor] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def measure(self, model: nn.Module) -> dict[str, float]:
        """Return the mean PSNR of the reconstructions in float32 by log path; every process must call it.

        The result is bit for bit the same on all processes, whatever their number and that of their threads. Raises
        WorkFailedError on every process when no image can be read, or more are unreadable than the limit allows.
        """
        was_training = model.training
        model.eval()
        own = self._measure_own(model)
        model.train(was_training)
        # No process waits for another one before this, so an error on one cannot block the others.
        return self._combined(gather_object([own]))

    def samples(self, count: int) -> list[Tensor]:
        """Return the first readable images, uint8 `h w c`, on the main process; none on others."""
        if not self._accelerator.is_main_process:
            return []
        if self._samples is None or len(self._samples) < count:
            self._samples = self._first(count)
        return self._samples[:count]

    def _first(self, count: int) -> list[Tensor]:
        found: list[Tensor] = []
        for entry in self._entries[: count + IGNORED]:
            with suppress(UnreadableImageError):  # `measure` warns
                found.append(self._reader.image(entry))
            if len(found) == count:
                break
        return found

    def _measure_own(self, model: nn.Module) -> _ProcessResult:
        ours = self._entries[self._accelerator.process_index :: self._accelerator.num_processes]
        unreadable: list[str] = []
        error: Exception | None = None
        total, not_finite, images = torch.zeros((), dtype=torch.int64), torch.zeros(()), 0
        try:
            for values in self._values(model, self._readable(ours, unreadable)):
                finite = values.isfinite()
                total += (values.where(finite, 0) * UNITS).round().to(torch.int64).sum()
                not_finite += values.where(~finite, 0).sum()
                images += len(values)
        except (WorkFailedError, OSError, MemoryError) as caught:
            error = caught
        return _ProcessResult(int(total), float(not_finite), images, unreadable, error)

    def _readable(self, entries: Sequence[Entry], unreadable: list[str]) -> Iterator[Tensor]:
        """Yield the images, and append a message about each that cannot be read; stop where one process passes the limit."""
        for attempt in self._reader.attempts(entries):
            if isinstance(attempt, Tensor):
                yield attempt
                continue
            self._limit.check_first(attempt)
            unreadable.append(str(attempt))
            if not self._limit.allows(len(unreadable), len(self._entries)):
                return  # `_combined` raises, with the count of all processes

    def _values(self, model: nn.Module, images: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the PSNR of some images at a time; each depends on its own image alone."""

        def network(pixels: Pixels) -> tuple[Tensor]:
            return (psnr(pixels, model(pixels).pixels),)

        # Images of native size differ, and each would be padded to a batch of its own.
        size = 1 if self._reader.preprocessing.size == "native" else DEVICE_BATCH
        for batch in in_batches((to_pixels(image.unsqueeze(0)) for image in images), size):
            fixed = batch_for(size, *batch.shape[2:])
            yield run_exactly(network, batch, self._accelerator.device, fixed)[0].cpu()

    def _combined(self, results: list[_ProcessResult]) -> dict[str, float]:
        for error in (result.error for result in results if result.error):
            raise error
        images = sum(result.images for result in results)
        unreadable = [message for result in results for message in result.unreadable]
        self._limit.check(len(unreadable), len(self._entries), max(unreadable, default=""))
        for message in sorted({*unreadable} - self._named):
            self._warn(LEFT_OUT.format(message))
        self._named |= {*unreadable}
        mean = sum(result.psnr for result in results) / (images * UNITS) + sum(result.not_finite for result in results)
        return {"validation/psnr": mean, "validation/images": images, "validation/unreadable": len(unreadable)}
