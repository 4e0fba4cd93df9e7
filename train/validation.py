"""Quality on held-out images, read anew at each validation, each process its fraction of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from ..evaluation.metrics import psnr
from ..images.finding.index import Entry
from ..images.preprocessing import to_pixels
from ..tokenizer.errors import WorkFailedError
from ..tokenizer.numerics.exact import DEVICE_BATCH, batch_for, in_batches, run_exactly
from ..tokenizer.shapes import Pixels
from .data.read_images import ImageReader
from .data.unreadable_images import IGNORED, LEFT_OUT, UnreadableCounter, UnreadableImageError, UnreadableLimit

UNIT = 1 << 24
"""Parts of a dB that sums are counted in: whole numbers add up to the same in any order, and float32 has no finer ones."""


class _Share(NamedTuple):
    """What one process found in its images."""

    psnr: int
    """Sum over the images whose PSNR is finite, in units."""
    spoiled: float
    """Sum of those that are not: 0, infinite or NaN."""
    images: int
    unreadable: int
    named: list[str]
    """What could not be read and was not named before."""
    error: Exception | None
    """Why this process did not finish."""


class Validation:
    """Held-out images, of which no process keeps more than it is working on."""

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
        self._samples: list[Tensor] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def measure(self, model: nn.Module) -> dict[str, float]:
        """Return the mean quality of the reconstructions in float32; every process must call it, and all get the same.

        Neither the number of processes nor that of threads changes a bit. Raises WorkFailedError, on every process, when
        no image can be read, or more of them are unreadable than the limit allows.
        """
        was_training = model.training
        model.eval()
        share = self._share(model)
        model.train(was_training)
        # Nothing before this waits for another process, whatever each has met with.
        return self._joined(gather_object([share]))

    def samples(self, count: int) -> list[Tensor]:
        """Return the first images that can be read, uint8 `h w c`; the main process has them alone, others get none."""
        if not self._accelerator.is_main_process:
            return []
        if self._samples is None or len(self._samples) < count:
            self._samples = self._first(count)
        return self._samples[:count]

    def _first(self, count: int) -> list[Tensor]:
        found: list[Tensor] = []
        for entry in self._entries[: count + IGNORED]:
            try:
                found.append(self._reader.image(entry))
            except UnreadableImageError:
                continue  # measuring says which
            if len(found) == count:
                break
        return found

    def _share(self, model: nn.Module) -> _Share:
        ours = self._entries[self._accelerator.process_index :: self._accelerator.num_processes]
        unreadable = UnreadableCounter(self._limit, len(self._entries))
        error: Exception | None = None
        total, spoiled, images = torch.zeros((), dtype=torch.int64), torch.zeros(()), 0
        try:
            for values in self._values(model, unreadable.readable(self._reader.attempts(ours))):
                good = values.isfinite()
                total += (values.where(good, 0) * UNIT).round().to(torch.int64).sum()
                spoiled += values.where(~good, 0).sum()
                images += len(values)
        except (WorkFailedError, OSError, MemoryError) as caught:
            error = caught
        new = sorted(set(unreadable.messages) - self._named)
        return _Share(int(total), float(spoiled), images, len(unreadable.messages), new, error)

    def _values(self, model: nn.Module, images: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the PSNR of images, some at a time, each a pure function of its own image."""

        def network(pixels: Pixels) -> tuple[Tensor]:
            return (psnr(pixels, model(pixels).pixels),)

        # Images of native size would each fill up a batch of their own.
        size = 1 if self._reader.preprocessing.size == "native" else DEVICE_BATCH
        for batch in in_batches((to_pixels(image.unsqueeze(0)) for image in images), size):
            fixed = batch_for(size, *batch.shape[2:])
            yield run_exactly(network, batch, self._accelerator.device, fixed)[0].cpu()

    def _joined(self, shares: list[_Share]) -> dict[str, float]:
        for error in (share.error for share in shares if share.error):
            raise error
        named = sorted({name for share in shares for name in share.named})
        self._named |= set(named)
        images, unreadable = (sum(counts) for counts in zip(*((s.images, s.unreadable) for s in shares), strict=True))
        last = max(self._named, default="")
        self._limit.check(unreadable, len(self._entries), last)
        for each in named:
            self._warn(LEFT_OUT.format(each))
        mean = sum(share.psnr for share in shares) / (images * UNIT) + sum(share.spoiled for share in shares)
        return {"validation/psnr": mean, "validation/images": images, "validation/unreadable": unreadable}
