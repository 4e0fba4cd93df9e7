"""From the bytes of a picture file to an upright RGB image, whatever the file's colour model."""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 1 << 27
"""Pictures of more pixels (134 million) are refused unread: a small file can claim any size."""


class PictureError(ValueError):
    """A picture that cannot be used; the message is a phrase that says why."""


def open_picture(content: bytes, background: tuple[int, int, int] = (255, 255, 255)) -> Image.Image:
    """Return the picture in `content` as RGB: first frame, EXIF orientation applied, transparency over `background`.

    Raises PictureError for an empty, broken, truncated, unknown or far too large file.
    """
    if not content:
        raise PictureError("the file is empty")
    try:
        with warnings.catch_warnings():
            # Oddities inside a picture that can be read are not the user's concern; size is checked below.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content))
            _check_size(image)
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return to_rgb(image, background)
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError("not a picture of a known format") from None
    except Image.DecompressionBombError:
        raise PictureError(f"more than {MAX_PIXELS} pixels") from None
    except Exception as error:  # decoders raise SyntaxError, struct.error, OverflowError, ... on broken files
        raise PictureError(f"broken picture: {' '.join(str(error).split()) or type(error).__name__}") from None


def to_rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Return an image of any mode as RGB, transparency blended over `background` and 16 bits scaled to 8."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        # PIL's own conversion clips 16-bit grey at 255 instead of scaling it.
        grey = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        image = Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8))
    elif image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        image = Image.fromarray(np.clip(np.round(values), 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        base = Image.new("RGBA", layer.size, (*background, 255))
        return Image.alpha_composite(base, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise PictureError(f"{width} x {height} is more than {MAX_PIXELS} pixels")
