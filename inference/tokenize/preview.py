"""The preview: originals above, reconstructions below."""

import os
from pathlib import Path

from PIL import Image

from ...images.comparison_sheet import comparison_sheet
from ...images.preprocessing import stack_pixels
from ...images.saving import mark_of, save_png
from ..api import Tokenizer
from ..arithmetic import Encode
from ..inputs.plan import Plan
from ..inputs.reading import first_images

PREVIEW_MARK = "preview"
"""The mark in the PNG file by which a preview is recognised."""


def is_other(path: Path) -> bool:
    """Return whether there is a file that is no preview of vistok."""
    return os.path.lexists(path) and mark_of(path) != PREVIEW_MARK


def write_preview(path: Path, plan: Plan, tokenizer: Tokenizer, encode: Encode, count: int) -> int:
    """Write a PNG of the first `count` usable images of a plan; return how many there were."""
    images = first_images(plan, tokenizer.config.preprocessing, tokenizer.downsample, count)
    if not images:
        return 0
    pairs = [
        (Image.fromarray(image.pixels), tokenizer.decode(encode(stack_pixels([image.pixels])))[0]) for image in images
    ]
    save_png(path, comparison_sheet(pairs), PREVIEW_MARK)
    return len(pairs)
