"""A look at what a tokenizer does: originals above, reconstructions below."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..images.preprocessing import to_pixels
from ..images.sheet import comparison_sheet
from .api import Tokenizer
from .pipeline import first_pictures
from .plan import Plan


def write_preview(path: Path, plan: Plan, tokenizer: Tokenizer, count: int) -> int:
    """Write a PNG of the first `count` pictures of a plan that can be read; return how many there were."""
    pictures = first_pictures(plan, tokenizer.config.preprocessing, tokenizer.downsample, count)
    if not pictures:
        return 0
    pairs = [(Image.fromarray(picture.pixels), _reconstruct(picture.pixels, tokenizer)) for picture in pictures]
    comparison_sheet(pairs).save(path)
    return len(pairs)


def _reconstruct(pixels: np.ndarray, tokenizer: Tokenizer) -> Image.Image:
    tokens = tokenizer.encode_pixels(to_pixels(torch.from_numpy(pixels.copy()).unsqueeze(0)))
    return tokenizer.decode(tokens)[0]
