"""A look at what a tokenizer does: originals above, reconstructions below."""

from pathlib import Path

from PIL import Image

from ...images.comparison_sheet import comparison_sheet
from ...images.preprocessing import stack_pixels
from ...images.saving import save_png
from ..api import Tokenizer
from ..arithmetic import Encode
from ..inputs.plan import Plan
from ..inputs.reading import first_images

PREVIEW_MARK = "preview"
"""What a preview is known by."""


def write_preview(path: Path, plan: Plan, tokenizer: Tokenizer, encode: Encode, count: int) -> int:
    """Write a PNG of the first `count` images of a plan that can be read; return how many there were."""
    images = first_images(plan, tokenizer.config.preprocessing, tokenizer.downsample, count)
    if not images:
        return 0
    pairs = [
        (Image.fromarray(image.pixels), tokenizer.decode(encode(stack_pixels([image.pixels])))[0]) for image in images
    ]
    save_png(path, comparison_sheet(pairs), PREVIEW_MARK)
    return len(pairs)
