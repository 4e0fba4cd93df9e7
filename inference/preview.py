"""A look at what a tokenizer does: originals above, reconstructions below."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..images.preprocessing import to_pixels
from .api import Tokenizer
from .pipeline import first_pictures
from .plan import Plan

GAP = 8
SIDE = 256


def write_preview(path: Path, plan: Plan, tokenizer: Tokenizer, count: int) -> int:
    """Write a PNG of the first `count` pictures of a plan that can be read; return how many there were."""
    pictures = first_pictures(plan, tokenizer.config.preprocessing, tokenizer.downsample, count)
    if not pictures:
        return 0
    pairs = [(Image.fromarray(picture.pixels), _reconstruct(picture.pixels, tokenizer)) for picture in pictures]
    _sheet(pairs).save(path)
    return len(pairs)


def _reconstruct(pixels: np.ndarray, tokenizer: Tokenizer) -> Image.Image:
    tokens = tokenizer.encode_pixels(to_pixels(torch.from_numpy(pixels.copy()).unsqueeze(0)))
    return tokenizer.decode(tokens)[0]


def _sheet(pairs: Iterable[tuple[Image.Image, Image.Image]]) -> Image.Image:
    columns = [[_at_most(image, SIDE) for image in pair] for pair in pairs]
    height = max(image.height for column in columns for image in column)
    width = sum(column[0].width + GAP for column in columns) + GAP
    sheet = Image.new("RGB", (width, 2 * height + 3 * GAP), "white")
    left = GAP
    for column in columns:
        for row, image in enumerate(column):
            sheet.paste(image, (left, GAP + row * (height + GAP)))
        left += column[0].width + GAP
    return sheet


def _at_most(image: Image.Image, side: int) -> Image.Image:
    if max(image.size) <= side:
        return image
    scale = side / max(image.size)
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
