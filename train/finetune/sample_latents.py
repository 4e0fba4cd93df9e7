"""Samples latent vectors of many images, reading no more images than necessary."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch import Tensor

from ...cli.progress import ProgressLine
from ...images.file_entry import Entry
from ...images.preprocessing import to_pixels
from ...tokenizer.model import VisualTokenizer
from ...tokenizer.numerics.exact import in_batches
from ..data.read_images import ImageReader
from ..data.unreadable_images import UnreadableCounter, UnreadableLimit
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

    Vectors of one image are similar, so PER_IMAGE of them are drawn from each of as many images as that takes, both without
    replacement. With fewer images, all are read and each gives more vectors. The next image in the order replaces one that
    cannot be read, or makes up for one with too few vectors. Raises WorkFailedError if too many of them are unreadable.
    """
    per_image = max(PER_IMAGE, -(-wanted // len(entries)))
    if side := reader.preprocessing.side:
        per_image = min(per_image, max(1, math.prod(model.architecture.latent_grid(side, side))))
        wanted = min(wanted, per_image * len(entries))
    order = np.random.default_rng([seed, 4]).permutation(len(entries))
    drawn = filled = 0
    unreadable = UnreadableCounter(limit, len(entries), warn)
    indices: deque[int] = deque()
    sample: list[Tensor] = []  # vectors and targets, in their final memory, which they may nearly fill

    def readable(chosen: list[int]) -> Iterator[Tensor]:
        for index, attempt in zip(chosen, reader.attempts(entries[index] for index in chosen), strict=True):
            if isinstance(attempt, Tensor):
                indices.append(index)
                yield to_pixels(attempt.unsqueeze(0))
            else:
                unreadable.add(attempt, drawn)

    with ProgressLine("latents", wanted, quiet) as progress:
        while filled < wanted and drawn < len(order):
            # Images that are drawn together are read in the order of their files.
            chosen = np.sort(order[drawn : drawn + -(-(wanted - filled) // per_image)]).tolist()
            drawn += len(chosen)
            for batch in in_batches(readable(chosen)):
                pairs = latent_pairs(model, batch.to(next(model.parameters()).device))
                sample = sample or [part.new_empty(wanted, part.shape[1]) for part in pairs]
                for parts in zip(*(part.chunk(len(batch)) for part in pairs), strict=True):
                    picked = np.random.default_rng([seed, 4, indices.popleft()]).permutation(len(parts[0]))
                    picked = picked[: min(per_image, wanted - filled)]
                    for whole, part in zip(sample, parts, strict=True):
                        whole[filled : filled + len(picked)] = part[picked]
                    filled += len(picked)
                progress.update(filled)
    return LatentPairs(*(part[:filled].clone() if filled < wanted else part for part in sample))
