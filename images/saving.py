"""Save images as PNG, atomically, with a mark of what made them; and sheets of comparisons to save."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..tokenizer.files import write_whole
from .file_entry import open_regular

MARK = "vistok"
"""Keyword of the PNG text that holds the mark."""
GAP, SIDE, COLUMNS = 8, 256, 8
"""Of a sheet: pixels between images, max pixels of a side, and originals in a row."""


def save_png(path: Path, image: Image.Image, mark: str = "") -> None:
    """Write an image as PNG; on OSError an older file stays unchanged."""
    write_whole(path, png_bytes(image, mark))


def png_bytes(image: Image.Image, mark: str = "") -> bytes:
    """Return an image as PNG."""
    buffer = io.BytesIO()
    info = PngInfo()
    if mark:
        info.add_text(MARK, mark)
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def mark_of(path: Path) -> str:
    """Return the mark that a file was saved with, or "" when it has none or is not a PNG."""
    try:
        with open_regular(str(path)) as file:
            return mark_in(file)
    except OSError:
        return ""


def mark_in(file: BinaryIO) -> str:
    """Return the mark that the content of an open file was saved with, or "" when it has none or is not a PNG."""
    try:
        with Image.open(file, formats=["PNG"]) as image:
            return str(image.info.get(MARK, ""))
    except (Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        return ""


def comparison_sheet(compared: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Return a sheet of 8 originals a row, each above its reconstructions, all scaled down to at most 256 pixels a side."""
    placed: list[tuple[Image.Image, tuple[int, int]]] = []
    top, width = GAP, 0
    for start in range(0, len(compared), COLUMNS):
        columns = [[scaled_down(image) for image in images] for images in compared[start : start + COLUMNS]]
        height = max(image.height for column in columns for image in column)
        left = GAP
        for column in columns:
            placed += [(image, (left, top + row * (height + GAP))) for row, image in enumerate(column)]
            left += column[0].width + GAP
        top += max(map(len, columns)) * (height + GAP)
        width = max(width, left)
    sheet = Image.new("RGB", (width, top), "white")
    for image, corner in placed:
        sheet.paste(image, corner)
    return sheet


def scaled_down(image: Image.Image) -> Image.Image:
    """Return an image as it is on a sheet."""
    scale = min(1, SIDE / max(image.size))
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
