"""ICC profiles: from the colours of a file to sRGB, as a screen shows them.

Only ICC profiles count. An image without one is taken for sRGB: the gamma and primaries of PNG (gAMA, cHRM, cICP) and the
colour numbers of AVIF and HEIC (nclx) are passed over. Images of 16 bits are converted after they have been brought to 8.
"""

import io
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageCms

Conversion: TypeAlias = Callable[[Image.Image], Image.Image]
"""From RGB, RGBA or CMYK to RGB or, with its alpha, to RGBA."""

SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""ICC's names of colour spaces that images are in, and Pillow's modes."""
INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
SAME = 2
"""Levels that a conversion may change; a profile that changes no colour by more is sRGB, and taken for it."""
LARGEST_PROFILE = 4 << 20
STEPS = {
    "RGB": bytes((0, 0, 0, 128, 128, 128, 255, 255, 255)),
    "L": bytes((0, 128, 255)),
    "CMYK": bytes((0, 0, 0, 255, 0, 0, 0, 128, 0, 0, 0, 0)),
}
"""Black, grey and white in Pillow's modes."""


def to_srgb(profile: bytes | None, space: str) -> Conversion | None:
    """Return the conversion of 8-bit colours with a profile to sRGB, relative colorimetric with black points matched.

    None when there is nothing to convert: the profile is missing, broken, larger than 4 MB, not of the colour space
    `space` (RGB, GRAY or CMYK), that of sRGB itself, or one that loses black, grey or white. Safe in threads; the last 16
    conversions are kept.
    """
    if not profile or len(profile) > LARGEST_PROFILE or profile[16:20].decode("latin-1").strip() != space:
        return None
    return _conversion(profile, space)


@lru_cache(maxsize=16)
def _conversion(profile: bytes, space: str) -> Conversion | None:
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = _transform(own, SPACES[space], "RGB")
        with_alpha = _transform(own, "RGBA", "RGBA") if space == "RGB" else transform
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    if not _keeps_steps(transform, SPACES[space]):
        return None
    if space == "GRAY":
        return _grey_conversion(transform)
    if space == "RGB" and _is_srgb(transform):
        return None
    return lambda image: (with_alpha if image.mode == "RGBA" else transform).apply(image)


def _transform(own: ImageCms.ImageCmsProfile, mode: str, result: str) -> ImageCms.ImageCmsTransform:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    # Of grey a table is made: there the shortcuts of the library would cost digits and save nothing.
    flags = FLAGS | ImageCms.Flags.NOOPTIMIZE if mode == "L" else FLAGS
    return ImageCms.ImageCmsTransform(own, srgb, mode, result, INTENT, flags=flags)


def _keeps_steps(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Return whether black stays dark, white bright, and grey between: a damaged profile may make all of an image black."""
    image = Image.frombytes(mode, (3, 1), STEPS[mode])
    black, grey, white = np.asarray(transform.apply(image)).reshape(3, 3).astype(int)
    return bool(black.max() < 128 and white.min() > 160 and 16 < grey.mean() < 240)


def _grey_conversion(transform: ImageCms.ImageCmsTransform) -> Conversion | None:
    """Return grey by a table of 256: the colours of a transform may be off neutral by a rounding."""
    every = np.arange(256, dtype=np.uint8)
    converted = np.asarray(transform.apply(Image.fromarray(every[None]))).reshape(256, 3)
    table = converted.astype(float).mean(axis=1).round().astype(int)
    if np.abs(table - every).max() <= SAME:
        return None
    levels = table.tolist() * 3
    return lambda image: image.point(levels + list(range(256)) if image.mode == "RGBA" else levels)


def _is_srgb(transform: ImageCms.ImageCmsTransform) -> bool:
    steps = np.linspace(0, 255, 18).round().astype(np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    converted = np.asarray(transform.apply(Image.fromarray(lattice))).astype(int)
    return bool(np.abs(converted - lattice).max() <= SAME)


def lab_to_srgb(image: Image.Image) -> Image.Image:
    """Return a CIELAB image (of D50, as in TIFF) as RGB."""
    return _lab().apply(image)


@lru_cache(maxsize=1)
def _lab() -> ImageCms.ImageCmsTransform:
    return _transform(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB", "RGB")
