"""A sample of the latents of many images, without reading more of them than it takes.

Vectors of one image resemble one another, so few are taken of each: PER_IMAGE of them, at places drawn without replacement,
of as many images as it then takes, drawn without replacement from all sources together. Where there are too few images for
that, all are read and more is taken of each. So each image is as likely to be drawn as any other, and in it each vector;
images of native size count the same however large they are. An image that cannot be read, or has too few vectors, is made
up for by the next in the order of drawing.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch import Tensor

from ...cli.progress import ProgressLine
from ...images.finding.index import Entry
from ...images.preprocessing import to_pixels
from ...tokenizer.model import VisualTokenizer
from ...tokenizer.numerics.exact import in_batches
from ..data.read_images import ImageReader
from ..data.unreadable_images import UnreadableCounter, UnreadableLimit
from .swap_quantizer import LatentPairs, latent_pairs

PER_IMAGE = 64
"""Vectors of an image, where there are images enough."""


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
    """Return `wanted` latent vectors of the images, or all where there are fewer; a function of the images and the seed.

    Raises WorkFailedError when none of the images can be read, or more of those that were drawn than `tolerance` allows
    cannot.
    """
    each = max(PER_IMAGE, -(-wanted // len(entries)))
    if isinstance(side := reader.preprocessing.size, int):
        each = min(each, max(1, side // model.downsample) ** 2)
    drawing = _Drawing(entries, reader, seed, limit, warn)
    rows = _Rows(min(wanted, each * len(entries)) if isinstance(side, int) else wanted)
    with ProgressLine("latents", rows.wanted, quiet) as progress:
        while rows.missing and drawing.left:
            waiting: deque[int] = deque()
            images = drawing.read(-(-rows.missing // each), waiting)
            for batch in in_batches(map(to_pixels, images)):
                pairs = latent_pairs(model, batch.to(next(model.parameters()).device))
                for vectors, targets in zip(*(part.chunk(len(batch)) for part in pairs), strict=True):
                    places = np.random.default_rng([seed, 4, waiting.popleft()]).permutation(len(vectors))[:each]
                    rows.add(vectors[places], targets[places])
                progress.update(rows.wanted - rows.missing)
    return rows.pairs()


class _Drawing:
    """Images in the order of drawing, those that are read together in the order of their files."""

    def __init__(
        self,
        entries: Sequence[Entry],
        reader: ImageReader,
        seed: int,
        limit: UnreadableLimit,
        warn: Callable[[str], None],
    ):
        self._entries, self._reader = entries, reader
        self._unreadable = UnreadableCounter(limit, len(entries), warn)
        self._order = np.random.default_rng([seed, 4]).permutation(len(entries))
        self._drawn = 0

    @property
    def left(self) -> bool:
        return self._drawn < len(self._order)

    def read(self, count: int, numbers: deque[int]) -> Iterator[Tensor]:
        """Draw up to `count` more images, and yield those that can be read, `1 h w c`; `numbers` gets the number of each."""
        chosen = np.sort(self._order[self._drawn : self._drawn + count]).tolist()
        self._drawn += len(chosen)
        for number, attempt in zip(chosen, self._reader.attempts(self._entries[n] for n in chosen), strict=True):
            if isinstance(attempt, Tensor):
                numbers.append(number)
                yield attempt.unsqueeze(0)
                continue
            self._unreadable.add(attempt, self._drawn)


class _Rows:
    """Pairs of rows, written where they stay: they may be most of the memory."""

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
