"""From the bytes of a picture file to an upright RGB image, whatever the file's colour model."""

import io
import re
import warnings
from typing import BinaryIO, Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 1 << 27
"""Pictures of more pixels (134 million) are refused unread: a small file can claim any size."""
LARGEST_16_BITS = 65535


class PictureError(ValueError):
    """A picture that cannot be used; the message is a phrase that says why."""


def ignore_oddities() -> None:
    """Silence, in this process, Pillow's warnings about pictures that it can read nevertheless."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def open_picture(
    content: bytes | BinaryIO,
    background: tuple[int, int, int] = (255, 255, 255),
    colour: Literal["srgb", "ignore"] = "srgb",
) -> Image.Image:
    """Return the picture in `content` as RGB: first frame, EXIF orientation applied, transparency over `background`.

    Raises PictureError for an empty, broken, truncated, unknown or far too large file.
    """
    if not content:
        raise PictureError("the file is empty")
    try:
        image = Image.open(io.BytesIO(content) if isinstance(content, bytes) else content)
    except UnidentifiedImageError:
        raise PictureError("not a picture of a known format") from None
    except Image.DecompressionBombError as error:  # Pillow's own limit, which it tells in pixels alone
        claimed = re.search(r"\d+", str(error))
        raise PictureError(f"{claimed.group() if claimed else 'it'} is more than {MAX_PIXELS} pixels") from None
    except Exception as error:  # decoders raise SyntaxError, struct.error, OverflowError, ... on broken files
        raise PictureError(f"broken picture: {_phrase(error)}") from None
    if image.width * image.height > MAX_PIXELS:
        raise PictureError(f"{image.width} x {image.height} is more than {MAX_PIXELS} pixels")
    return upright_rgb(image, background)


def upright_rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Return an image as RGB, EXIF orientation applied and transparency over `background`; it is itself left alone.

    Raises PictureError when its file turns out to be broken, or when it has no pixel.
    """
    try:
        image.load()
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            image = ImageOps.exif_transpose(image)
        converted = to_rgb(image, background)
    except PictureError:
        raise
    except Exception as error:  # as above
        raise PictureError(f"broken picture: {_phrase(error)}") from None
    if 0 in converted.size:
        raise PictureError(f"{converted.width} x {converted.height} is no pixel at all")
    return converted


def to_rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Return an image of any mode as RGB, transparency blended over `background`.

    Grey of 16 bits is scaled to 8. Floats are scaled by 255 when all lie in [0, 1], and otherwise clipped to 0 to 255.
    Raises PictureError for integers beyond 16 bits, whose range cannot be known.
    """
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        # PIL's own conversion clips 16-bit grey at 255 instead of scaling it.
        grey = np.asarray(image).astype(np.int64)
        low, high = int(grey.min()), int(grey.max())
        if low < 0 or high > LARGEST_16_BITS:
            raise PictureError(f"grey values from {low} to {high}, where 0 to {LARGEST_16_BITS} can be read")
        image = Image.fromarray(((grey * 255 + 32767) // LARGEST_16_BITS).astype(np.uint8))
    elif image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        scale = 255 if values.min() >= 0 and values.max() <= 1 else 1
        image = Image.fromarray(np.clip(np.round(values * scale), 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        base = Image.new("RGBA", layer.size, (*background, 255))
        return Image.alpha_composite(base, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _phrase(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
