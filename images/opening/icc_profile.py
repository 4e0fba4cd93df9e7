"""ICC profiles: convert the colours of a file to sRGB.

Images without a profile are taken to be sRGB: gamma and primaries in PNG (gAMA, cHRM, cICP) and colour codes in AVIF and HEIC
(nclx) are ignored. Images of 16 bits are reduced to 8 bits first.
"""

import io
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageCms

Conversion: TypeAlias = Callable[[Image.Image], Image.Image]
"""Maps an RGB, RGBA or CMYK image to RGB, or to RGBA when it has alpha."""

SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""ICC's names of colour spaces, and Pillow's modes."""
INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
TOLERANCE = 2
"""Levels of 255. A profile that changes no colour by more counts as sRGB, and nothing is converted."""
MAX_PROFILE = 4 << 20
BLACK_GREY_WHITE = Image.frombytes("L", (3, 1), bytes((0, 128, 255)))


def to_srgb(profile: bytes | None, space: str) -> Conversion | None:
    """Return the conversion of 8-bit colours to sRGB, relative colorimetric with black point compensation.

    Returns None for a profile that is missing, broken, larger than 4 MB or equal to sRGB. So it does for one of another
    colour space than `space` (RGB, GRAY or CMYK), and for one that loses black, grey or white. Thread-safe; the last 16
    conversions are cached.
    """
    if not profile or len(profile) > MAX_PROFILE or profile[16:20].decode("latin-1").strip() != space:
        return None
    return _conversion(profile, space)


@lru_cache(maxsize=16)
def _conversion(profile: bytes, space: str) -> Conversion | None:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = _transform(source, SPACES[space], "RGB")
        with_alpha = _transform(source, "RGBA", "RGBA") if space == "RGB" else transform
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    if not _keeps_black_grey_white(transform, SPACES[space]):
        return None
    if space == "GRAY":
        return _grey_conversion(transform)
    if space == "RGB" and _is_srgb(transform):
        return None
    return lambda image: (with_alpha if image.mode == "RGBA" else transform).apply(image)


def _transform(source: ImageCms.ImageCmsProfile, mode: str, result: str) -> ImageCms.ImageCmsTransform:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    # Grey goes through a table, so the library's optimisation would cost precision and save no time.
    flags = FLAGS | ImageCms.Flags.NOOPTIMIZE if mode == "L" else FLAGS
    return ImageCms.ImageCmsTransform(source, srgb, mode, result, INTENT, flags=flags)


def _keeps_black_grey_white(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Return whether black stays dark, white bright, and grey between; a damaged profile may turn an image black."""
    black, grey, white = np.asarray(transform.apply(BLACK_GREY_WHITE.convert(mode))).reshape(3, 3).astype(int)
    return bool(black.max() < 128 and white.min() > 160 and 16 < grey.mean() < 240)


def _grey_conversion(transform: ImageCms.ImageCmsTransform) -> Conversion | None:
    """Return a conversion by a table of 256 values, because a transform may round grey to slightly different R, G and B."""
    every = np.arange(256, dtype=np.uint8)
    converted = np.asarray(transform.apply(Image.fromarray(every[None]))).reshape(256, 3)
    table = converted.astype(float).mean(axis=1).round().astype(int)
    if np.abs(table - every).max() <= TOLERANCE:
        return None
    levels = table.tolist() * 3
    return lambda image: image.point(levels + list(range(256)) if image.mode == "RGBA" else levels)


def _is_srgb(transform: ImageCms.ImageCmsTransform) -> bool:
    steps = np.linspace(0, 255, 18).round().astype(np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    converted = np.asarray(transform.apply(Image.fromarray(lattice))).astype(int)
    return bool(np.abs(converted - lattice).max() <= TOLERANCE)


@lru_cache(maxsize=1)
def lab_to_srgb() -> Conversion:
    """Return the conversion of CIELAB images (of D50, as in TIFF) to RGB."""
    return _transform(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB", "RGB").apply
