"""Save images as PNG, atomically, and mark what they were made from."""

import io
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..tokenizer.files import write_whole
from .file_entry import open_regular

MARK = "vistok"
"""Keyword of the PNG text that holds the mark."""


def save_png(path: Path, image: Image.Image, mark: str = "") -> None:
    """Write an image as PNG; on OSError an older file stays unchanged."""
    buffer = io.BytesIO()
    info = PngInfo()
    if mark:
        info.add_text(MARK, mark)
    image.save(buffer, "PNG", pnginfo=info)
    write_whole(path, buffer.getvalue())


def mark_of(path: Path) -> str:
    """Return the mark that a file was saved with, or "" when it has none or is not a PNG."""
    try:
        with open_regular(str(path)) as file, Image.open(file, formats=["PNG"]) as image:
            return str(image.info.get(MARK, ""))
    except (Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        return ""
