"""A look at what a tokenizer does: originals above, reconstructions below."""

from pathlib import Path

from PIL import Image

from ...images.preprocessing import stack_pixels
from ...images.saving import save_png
from ...images.sheet import comparison_sheet
from ..api import Tokenizer
from ..arithmetic import Encode
from ..inputs.plan import Plan
from ..inputs.reading import first_pictures

PREVIEW_MARK = "preview"
"""What a preview is known by."""


def write_preview(path: Path, plan: Plan, tokenizer: Tokenizer, encode: Encode, count: int) -> int:
    """Write a PNG of the first `count` pictures of a plan that can be read; return how many there were."""
    pictures = first_pictures(plan, tokenizer.config.preprocessing, tokenizer.downsample, count)
    if not pictures:
        return 0
    pairs = [
        (Image.fromarray(picture.pixels), tokenizer.decode(encode(stack_pixels([picture.pixels])))[0])
        for picture in pictures
    ]
    save_png(path, comparison_sheet(pairs), PREVIEW_MARK)
    return len(pairs)
