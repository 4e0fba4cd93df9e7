"""The endings of the names of image files."""

IMAGE_ENDINGS = (
    ".avif",
    ".bmp",
    ".gif",
    ".heic",
    ".heif",
    ".jfif",
    ".jpe",
    ".jpeg",
    ".jpg",
    ".png",
    ".tif",
    ".tiff",
    ".webp",
)
"""Endings of the files that can be read; for HEIC it takes the extra `heif`, and its absence is said of each image."""


def is_image(name: str) -> bool:
    """Return whether the ending of a file name is that of an image."""
    return name.lower().endswith(IMAGE_ENDINGS)
