"""Samples latent vectors of many images, reading no more images than necessary.

Vectors of one image are similar, so PER_IMAGE of them are drawn from each of as many images as that takes, both without
replacement. With fewer images, all are read and each gives more vectors. Every image is therefore equally likely to be
drawn, and so is every vector of it, however large the image. The next image in the order replaces one that cannot be read,
or makes up for one with too few vectors.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from torch import Tensor

from ...cli.progress import ProgressLine
from ...images.file_entry import Entry
from ...images.preprocessing import to_pixels
from ...tokenizer.model import VisualTokenizer
from ...tokenizer.numerics.exact import in_batches
from ..data.read_images import ImageReader
from ..data.unreadable_images import UnreadableCounter, UnreadableImageError, UnreadableLimit
from .swap_quantizer import LatentPairs, latent_pairs

PER_IMAGE = 64
"""Vectors per image, if there are enough images."""


def sample_latents(
    model: VisualTokenizer,
    entries: Sequence[Entry],
    reader: ImageReader,
    wanted: int,
    seed: int,
    limit: UnreadableLimit,
    warn: Callable[[str], None],
    quiet: bool = False,
) -> LatentPairs:
    """Return `wanted` latent vectors of the images, or all if there are fewer; a function of the images and the seed.

    Raises WorkFailedError if too many of the images drawn are unreadable.
    """
    per_image = max(PER_IMAGE, -(-wanted // len(entries)))
    if isinstance(side := reader.preprocessing.size, int):
        per_image = min(per_image, max(1, side // model.downsample) ** 2)
    order, drawn = np.random.default_rng([seed, 4]).permutation(len(entries)), 0
    unreadable = UnreadableCounter(limit, len(entries), warn)
    rows = _Rows(min(wanted, per_image * len(entries)) if isinstance(side, int) else wanted)
    with ProgressLine("latents", rows.wanted, quiet) as progress:
        while rows.missing and drawn < len(order):
            # Images that are drawn together are read in the order of their files.
            chosen = np.sort(order[drawn : drawn + -(-rows.missing // per_image)]).tolist()
            drawn += len(chosen)
            attempts = zip(chosen, reader.attempts(entries[index] for index in chosen), strict=True)
            indices: deque[int] = deque()
            for batch in in_batches(map(to_pixels, _readable(attempts, indices, unreadable, drawn))):
                pairs = latent_pairs(model, batch.to(next(model.parameters()).device))
                for vectors, targets in zip(*(part.chunk(len(batch)) for part in pairs), strict=True):
                    picked = np.random.default_rng([seed, 4, indices.popleft()]).permutation(len(vectors))[:per_image]
                    rows.add(vectors[picked], targets[picked])
                progress.update(rows.wanted - rows.missing)
    return rows.pairs()


def _readable(
    attempts: Iterable[tuple[int, Tensor | UnreadableImageError]],
    indices: deque[int],
    unreadable: UnreadableCounter,
    drawn: int,
) -> Iterator[Tensor]:
    """Yield the images that could be read, `1 h w c`, and append the index of each to `indices`."""
    for index, attempt in attempts:
        if isinstance(attempt, Tensor):
            indices.append(index)
            yield attempt.unsqueeze(0)
        else:
            unreadable.add(attempt, drawn)


class _Rows:
    """Pairs of rows, written into their final memory, which they may nearly fill."""

    def __init__(self, wanted: int):
        self.wanted = wanted
        self._filled = 0
        self._pairs: LatentPairs | None = None

    @property
    def missing(self) -> int:
        return self.wanted - self._filled

    def add(self, *more: Tensor) -> None:
        if self._pairs is None:
            self._pairs = LatentPairs(*(part.new_empty(self.wanted, part.shape[1]) for part in more))
        end = min(self.wanted, self._filled + len(more[0]))
        for kept, part in zip(self._pairs, more, strict=True):
            kept[self._filled : end] = part[: end - self._filled]
        self._filled = end

    def pairs(self) -> LatentPairs:
        assert self._pairs is not None
        return LatentPairs(*(part[: self._filled].clone() if self.missing else part for part in self._pairs))
