"""From an image to a file that is whole or not there."""

import io
from pathlib import Path

from PIL import Image

from ..tokenizer.files import write_whole


def save_png(path: Path, image: Image.Image) -> None:
    """Write an image as PNG; raise OSError when the disk refuses, and then leave what was there before."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    write_whole(path, buffer.getvalue())
