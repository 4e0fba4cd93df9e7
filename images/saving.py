"""From an image to a file that is whole or not there."""

import io
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile, PngInfo

from ..tokenizer.files import write_whole

MARK = "vistok"
"""Keyword of the PNG text that says what an image was made from."""


def save_png(path: Path, image: Image.Image, mark: str = "") -> None:
    """Write an image as PNG; raise OSError when the disk refuses, and then leave what was there before."""
    buffer = io.BytesIO()
    info = PngInfo()
    if mark:
        info.add_text(MARK, mark)
    image.save(buffer, "PNG", pnginfo=info)
    write_whole(path, buffer.getvalue())


def mark_of(path: Path) -> str:
    """Return the mark that a file was saved with, and "" when it has none or is no PNG."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return str(image.text.get(MARK, "")) if isinstance(image, PngImageFile) else ""
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return ""
