"""What a call shows of its first images: a preview, and how many tokens --fast keeps."""

import os
from pathlib import Path

from PIL import Image

from ...images.comparison_sheet import comparison_sheet
from ...images.preprocessing import stack_pixels
from ...images.saving import mark_of, save_png
from ...tokenizer.wording import pluralize
from ..api import Tokenizer
from ..arithmetic import Encode, agreement
from ..inputs.plan import Plan
from ..inputs.reading import first_images

COMPARED_IMAGES = 8
PREVIEW_MARK = "preview"
"""The mark in the PNG file by which a preview is recognised."""


def is_other(path: Path) -> bool:
    """Return whether there is a file that is no preview of vistok."""
    return os.path.lexists(path) and mark_of(path) != PREVIEW_MARK


def write_preview(path: Path, plan: Plan, tokenizer: Tokenizer, encode: Encode, count: int) -> int:
    """Write a PNG of the first `count` usable images of a plan; return how many there were."""
    images = first_images(plan, tokenizer.config.preprocessing, tokenizer.downsample, count, tokenizer.grid)
    if not images:
        return 0
    pairs = [
        (Image.fromarray(image.pixels), tokenizer.decode(encode(stack_pixels([image.pixels])))[0]) for image in images
    ]
    save_png(path, comparison_sheet(pairs), PREVIEW_MARK)
    return len(pairs)


def compare_with_float32(plan: Plan, tokenizer: Tokenizer, encode: Encode) -> str | None:
    """Return a line that says how many tokens of the first images `encode` shares with the exact encoder."""
    images = first_images(plan, tokenizer.config.preprocessing, tokenizer.downsample, COMPARED_IMAGES, tokenizer.grid)
    pixels = [stack_pixels([image.pixels]) for image in images]
    if not pixels:
        return None
    fraction = agreement(tokenizer.encode_pixels, encode, pixels)
    return f"--fast: {fraction:.2%} of the tokens of {pluralize(len(pixels), 'image')} are those of float32"
