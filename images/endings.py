"""The endings of the names of image files."""

from importlib.util import find_spec

_HEIF = (".heic", ".heif") if find_spec("pillow_heif") else ()
PICTURE_ENDINGS = tuple(
    sorted((".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp", *_HEIF))
)
"""Endings of the files that can be read; those of HEIC are among them when `pillow_heif` is installed."""


def is_picture(name: str) -> bool:
    """Return whether the ending of a file name is that of an image."""
    return name.lower().endswith(PICTURE_ENDINGS)
