"""Some rows decoded, beside their originals where these can be read."""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from ...evaluation.metrics import psnr
from ...images.opening.open_image import MAX_PIXELS
from ...images.preprocessing import stack_pixels
from ...images.sizes import original_box
from ...report.content import Comparison, Single
from ...report.data_url import LARGEST
from ..api import Tokenizer
from .row_sample import Row

RANDOM, WORST = 12, 8
"""Max images on the page; the worst are at most a fourth of those that were compared."""

GPU_BATCH = 8


class Reconstructions(NamedTuple):
    """What became of a sample of rows."""

    random: list[Comparison | Single]
    """The first of the sample, which is random."""
    worst: list[Comparison]
    """Of all that have an original, those of the lowest PSNR, lowest first."""
    decoded: int
    psnrs: list[float]
    """dB, of those that have an original; infinity for equal images."""
    problems: list[str]
    """Phrases about rows that cannot be decoded."""


def reconstruct(
    rows: Iterable[Row],
    tokenizer: Tokenizer,
    original: Callable[[Row], np.ndarray | None],
    is_over: Callable[[], bool] = lambda: False,
) -> Reconstructions:
    """Decode rows one by one until the time is over; `original` returns what the encoder got, uint8 `h w c`, or None."""
    done = Reconstructions([], [], 0, [], [])
    worst: list[tuple[float, int, Comparison]] = []
    decoded = 0
    for row, image in _decoded(rows, tokenizer, is_over, done.problems):
        decoded += 1
        compared = _compared(row, image, original(row), tokenizer)
        if len(done.random) < RANDOM:
            done.random.append(compared if isinstance(compared, Single) else compared[1])
        if not isinstance(compared, Single):
            value, pair = compared
            done.psnrs.append(value)
            heapq.heappush(worst, (-value, decoded, pair))
            if len(worst) > WORST:
                heapq.heappop(worst)
    lowest = [pair for *_, pair in sorted(worst, key=lambda entry: -entry[0])]
    return done._replace(worst=lowest[: math.ceil(len(done.psnrs) / 4)], decoded=decoded)


def _decoded(
    rows: Iterable[Row], tokenizer: Tokenizer, is_over: Callable[[], bool], problems: list[str]
) -> Iterator[tuple[Row, Image.Image]]:
    """Yield rows in their order with their images, as many together as the device takes at once."""
    together = torch.get_num_threads() if tokenizer.device.type == "cpu" else GPU_BATCH
    fitting = (row for row in rows if _fits(row, tokenizer, problems))
    while not is_over() and (some := list(islice(fitting, together))):
        shapes = groupby(some, lambda row: row.tokens.shape)
        for group in (list(each) for _, each in shapes):
            tokens = torch.from_numpy(np.stack([row.tokens for row in group]).astype(np.int64))
            yield from zip(group, tokenizer.decode(tokens), strict=True)


def _fits(row: Row, tokenizer: Tokenizer, problems: list[str]) -> bool:
    """Return whether the tokens of a row fit the size of its image, or append a phrase to `problems`."""
    width, height = row.metadata["width"], row.metadata["height"]
    expected = (tokenizer.num_codebooks, *tokenizer.grid(height, width))
    problem = ""
    if row.tokens.shape != expected:
        problem = f"the tokens are {row.tokens.shape}, but an image of {width} x {height} has {expected}"
    elif row.tokens[0].size * tokenizer.downsample**2 > MAX_PIXELS:
        problem = f"the image would have more than {MAX_PIXELS:,} pixels"
    if problem:
        problems.append(f"{row.shard}: {row.key}: {problem}")
    return not problem


def _compared(
    row: Row, image: Image.Image, pixels: np.ndarray | None, tokenizer: Tokenizer
) -> tuple[float, Comparison] | Single:
    width, height = row.metadata["width"], row.metadata["height"]
    source = Image.fromarray(pixels) if pixels is not None else None
    if box := original_box(tokenizer.config.preprocessing, height, width, tokenizer.downsample):
        image, source = image.crop(box), source.crop(box) if source else None
    if source is None or source.size != image.size:
        return Single(row.key, _small(image))
    value = float(psnr(*(stack_pixels([np.asarray(each)]) for each in (source, image))))
    text = f"{value:.2f} dB" if math.isfinite(value) else "equal"
    return value, Comparison(f"{row.key} · {text}", _small(source), _small(image))


def _small(image: Image.Image) -> Image.Image:
    """Reduce an image to what a page shows, so that memory is bounded."""
    image.thumbnail((LARGEST, LARGEST))
    return image
