"""From an image to a file that is whole or not there."""

import io
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..tokenizer.files import write_whole
from .entry import open_regular

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
        with open_regular(str(path)) as file, Image.open(file, formats=["PNG"]) as image:
            return str(image.info.get(MARK, ""))
    except (Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        return ""
