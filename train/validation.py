"""Quality on held-out images, which are read again at each validation, by each process its part of them."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from ..evaluation.metrics import psnr
from ..images.file_entry import Entry
from ..images.preprocessing import to_pixels
from ..tokenizer.decoders.base import PLAIN
from ..tokenizer.errors import WorkFailedError
from ..tokenizer.model import VisualTokenizer
from ..tokenizer.numerics.exact import DEVICE_BATCH, batch_for, in_batches, run_exactly
from ..tokenizer.shapes import Pixels
from .data.read_images import ImageReader
from .data.unreadable_images import IGNORED, LEFT_OUT, UnreadableImageError, UnreadableLimit


class _ProcessResult(NamedTuple):
    """What one process measured on its images."""

    psnr: list[float]
    unreadable: list[str]
    """A message about each image that could not be read."""
    error: Exception | None


class Validation:
    """Held-out images; a process keeps only those in memory that it is working on."""

    def __init__(
        self,
        entries: Sequence[Entry],
        reader: ImageReader,
        limit: UnreadableLimit,
        accelerator: Accelerator,
        warn: Callable[[str], None],
        decoder: str = PLAIN,
    ):
        self._entries = entries
        self._reader = reader
        self._limit = limit
        self._accelerator = accelerator
        self._warn = warn
        self._decoder = decoder
        self._named: set[str] = set()
        """Messages about unreadable images of earlier validations."""
        self._samples: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._entries)

    def measure(self, model: VisualTokenizer) -> dict[str, float]:
        """Return the mean PSNR of a model in eval mode by log path, in float32; every process must call it.

        The result is bit for bit the same on all processes, whatever their number and that of their threads. Raises
        WorkFailedError on every process when no image can be read, or more are unreadable than the limit allows.
        """
        # No process waits for another one before gathering, so an error on one cannot block the others.
        return self._combined(gather_object([self._measure_own(model)]))

    def samples(self, count: int) -> list[Tensor]:
        """Return the first readable images, uint8 `h w c`, on the main process; none on others."""
        if not self._accelerator.is_main_process:
            return []
        if not self._samples:
            for entry in self._entries[: count + IGNORED]:
                with suppress(UnreadableImageError):  # `measure` warns
                    self._samples.append(self._reader.image(entry))
                if len(self._samples) == count:
                    break
        return self._samples[:count]

    def _measure_own(self, model: VisualTokenizer) -> _ProcessResult:
        ours = self._entries[self._accelerator.process_index :: self._accelerator.num_processes]
        result = _ProcessResult([], [], None)
        try:
            for values in self._values(model, self._readable(ours, result.unreadable)):
                result.psnr.extend(values.tolist())
        except (WorkFailedError, OSError, MemoryError) as error:
            return result._replace(error=error)
        return result

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

    def _values(self, model: VisualTokenizer, images: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the PSNR of some images at a time; each depends on its own image alone."""

        def network(pixels: Pixels) -> tuple[Tensor]:
            return (psnr(pixels, reconstruct(model, pixels, self._decoder)),)

        # Images of different sizes would each be padded to a batch of their own.
        size = DEVICE_BATCH if self._reader.preprocessing.side else 1
        for batch in in_batches((to_pixels(image.unsqueeze(0)) for image in images), size):
            fixed = batch_for(size, *batch.shape[2:])
            yield run_exactly(network, batch, self._accelerator.device, fixed)[0].cpu()

    def _combined(self, results: list[_ProcessResult]) -> dict[str, float]:
        for error in (result.error for result in results if result.error):
            raise error
        values = [value for result in results for value in result.psnr]
        unreadable = [message for result in results for message in result.unreadable]
        self._limit.check(len(unreadable), len(self._entries), max(unreadable, default=""))
        for message in sorted({*unreadable} - self._named):
            self._warn(LEFT_OUT.format(message))
        self._named |= {*unreadable}
        mean = math.fsum(values) / len(values)  # exact, in any order
        return {"validation/psnr": mean, "validation/images": len(values), "validation/unreadable": len(unreadable)}


def reconstruct(model: VisualTokenizer, pixels: Pixels, decoder: str = PLAIN, seed: int = 0) -> Pixels:
    """Return the pixels, not clamped, that a decoder makes of the tokens of images."""
    if decoder == PLAIN:
        return model(pixels).pixels
    quantized = model.quantizer(model.encode_latent(pixels)).latent
    return model.decode_latent(quantized, decoder, seed)
