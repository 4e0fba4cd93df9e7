"""A sample of rows, decoded and compared with the images they were made of."""

import random
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from ...cli.progress import track
from ...evaluation.metrics import psnr
from ...images.preprocessing import stack_pixels
from ...images.sizes import original_box
from ...images.tars.blocks import DamagedShard
from ...tokenizer.errors import WorkFailedError
from ..api import Tokenizer
from ..inputs.views import Views
from ..token_dataset.dataset import TokenDataset
from ..token_dataset.rows import TokenRow
from .problems import Problem
from .sources import source_images

SEED = 0
SAME_FRACTION = 0.5
"""Fraction of a row's tokens that its image must give again: another machine changes a few, another image nearly all."""


class Comparison(NamedTuple):
    """A row and the image it was made of."""

    shard: str
    key: str
    psnr: float
    """Of the reconstruction, in dB; infinite when they are equal."""
    agreement: float
    """Fraction of the tokens that encoding the image again gives."""


class DeepReport(NamedTuple):
    """What a sample of rows showed."""

    problems: list[Problem]
    rows: int
    decoded: int
    compared: list[Comparison]
    has_sources: bool
    """Whether the call named where the images are."""


class Drawn(NamedTuple):
    """A row of the sample, and its reconstruction."""

    shard: str
    row: TokenRow
    image: Image.Image


def check_deep(dataset: TokenDataset, tokenizer: Tokenizer, inputs: list[str], count: int, quiet: bool) -> DeepReport:
    """Decode rows that are drawn from a fixed seed, and compare those whose image is found.

    Rows that cannot be read are left to the check of the rows. Raises ValueError for wrong inputs.
    """
    drawn = sorted(random.Random(SEED).sample(range(len(dataset)), min(count, len(dataset))))
    problems: list[Problem] = []
    images: list[Drawn] = []
    for row in track(drawn, "rows decoded", quiet=quiet):
        images += _decoded(dataset, row, tokenizer, problems)
    compared = list(_compared(images, tokenizer, inputs, dataset.manifest.views))
    for shard, key, _, agreement in compared:
        if agreement < SAME_FRACTION:
            what = f"its tokens are not those of its source: encoding that again gives {agreement:.0%} of them"
            problems.append(Problem("deep", shard, key, what))
    return DeepReport(problems, len(drawn), len(images), compared, bool(inputs))


def _decoded(dataset: TokenDataset, index: int, tokenizer: Tokenizer, problems: list[Problem]) -> Iterator[Drawn]:
    shard = dataset.shard_of(index)
    try:
        row = dataset[index]
    except DamagedShard:
        return
    try:
        yield Drawn(shard, row, tokenizer.decode(row.tokens.unsqueeze(0))[0])
    except (ValueError, WorkFailedError) as error:
        problems.append(Problem("deep", shard, row.key, f"cannot be decoded ({str(error).rstrip('.')})"))


def _compared(images: list[Drawn], tokenizer: Tokenizer, inputs: list[str], views: Views) -> Iterator[Comparison]:
    by_row = {id(drawn.row): drawn for drawn in images}
    for row, source in source_images([drawn.row for drawn in images], inputs, tokenizer, views):
        shard, _, image = by_row[id(row)]
        pixels = stack_pixels([source.pixels])
        again = tokenizer.encode_pixels(pixels)[0]
        is_same = again.shape == row.tokens.shape
        agreement = (again == row.tokens).float().mean().item() if is_same else 0.0
        yield Comparison(shard, row.key, _psnr(source.pixels, np.asarray(image), row, tokenizer), agreement)


def _psnr(pixels: np.ndarray, image: np.ndarray, row: TokenRow, tokenizer: Tokenizer) -> float:
    """Return the PSNR of a reconstruction `h w c`, without what was added around the image."""
    if pixels.shape != image.shape:
        return 0.0
    config, (height, width) = tokenizer.config.preprocessing, (row.metadata["height"], row.metadata["width"])
    box = original_box(config, height, width, tokenizer.downsample) or (0, 0, pixels.shape[1], pixels.shape[0])
    left, top, right, bottom = box
    original, decoded = (stack_pixels([each[top:bottom, left:right]]) for each in (pixels, image))
    return psnr(original, decoded).item()
