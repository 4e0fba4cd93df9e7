"""From an image file to an upright RGB image, whatever the file's colour model."""

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, NamedTuple, cast

from PIL import Image, ImageFile, UnidentifiedImageError

from ..errors import ImageError as ImageError
from ..formats import bmp, gif, png, tiff_decoding
from ..formats.exif import told_by_decoder, told_by_owner
from ..formats.source import Source
from ..formats.table import look_at
from .faults import faults
from .memory import BUDGET
from .quiet import silence_libtiff
from .rgb import TRANSPOSITIONS, Colour, to_rgb
from .watched import Watched

MAX_PIXELS = 1 << 27
"""Images of more pixels (134 million) are refused unread: a small file can claim any size."""
DRAFT_ABOVE = 1 << 26
"""JPEGs of more pixels (67 million) are decoded at 1/2, 1/4 or 1/8 of their size where that is enough."""


class Opened(NamedTuple):
    """An upright RGB image, and the size of the original when it is upright."""

    image: Image.Image
    width: int
    height: int


def open_image(
    content: bytes | BinaryIO,
    background: tuple[int, int, int] = (255, 255, 255),
    colour: Colour = "srgb",
) -> Image.Image:
    """Return the image in `content` as RGB: first frame, EXIF orientation applied, transparency over `background`.

    Its colours are converted to sRGB by the ICC profile, unless `colour` is ignore. Raises ImageError for an empty,
    broken, truncated, unknown or far too large file; errors of reading the file pass through.
    """
    with opened(content, background, colour) as found:
        return found.image


@contextmanager
def opened(
    content: bytes | BinaryIO, background: tuple[int, int, int], colour: Colour, side: int | None = None
) -> Iterator[Opened]:
    """Open an image as open_image does, and hold its share of the memory of decoding until it is let go.

    A very large JPEG is decoded smaller, as far as both sides keep twice `side` pixels.
    """
    file = io.BytesIO(content) if isinstance(content, bytes) else Watched(content)
    with ExitStack() as held:
        with faults(MAX_PIXELS, file):
            source = look_at(cast(BinaryIO, file))
            if source.size:
                _check(source.size)
                _hold(held, source, source.size, source.size)
            decoder = _open(source)
            size = decoder.size
            _check(size)
            if side and source.format == "JPEG" and size[0] * size[1] > DRAFT_ABOVE:
                decoder.draft(None, (2 * side, 2 * side))
            if not source.size:
                _hold(held, source, decoder.size, size)
            image = _load(decoder, source)
            profile = (source.profile or decoder.info.get("icc_profile")) if colour == "srgb" else None
            turned = source.orientation or told_by_decoder(decoder)
            image = _upright(image, turned)
            del decoder  # a turned image needs the memory
            image = to_rgb(image, background, profile, source.key, source.grey)
        width, height = reversed(size) if turned >= 5 else size
        yield Opened(image, width, height)


def upright_rgb(image: Image.Image, background: tuple[int, int, int], colour: Colour = "srgb") -> Image.Image:
    """Return an image as RGB, EXIF orientation and ICC profile applied, transparency over `background`.

    The image is itself left alone. Raises ImageError when its file turns out to be broken, or when it has no pixel.
    """
    with faults(MAX_PIXELS):
        image.load()
        if 0 in image.size:
            raise ImageError(f"{image.width} x {image.height} has no pixels")
        key = image.info.get("transparency")
        upright = _upright(image, told_by_owner(image))
        profile = image.info.get("icc_profile") if colour == "srgb" else None
        return to_rgb(upright, background, profile, (key,) if isinstance(key, int) else (), tiff_decoding.meant(image))


def _open(source: Source) -> ImageFile.ImageFile:
    try:
        return Image.open(source.file, formats=[source.format])
    except UnidentifiedImageError:
        raise ImageError(f"broken image: no decoder reads this {source.kind or source.format}") from None


def _check(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width} x {height} is more than {MAX_PIXELS} pixels")


def _hold(held: ExitStack, source: Source, size: tuple[int, int], whole: tuple[int, int]) -> None:
    decoded, coded = size[0] * size[1], whole[0] * whole[1]
    held.enter_context(BUDGET.hold(decoded * source.bytes_per_pixel + coded * source.bytes_per_coded_pixel))


def _load(image: ImageFile.ImageFile, source: Source) -> Image.Image:
    if source.format == "TIFF":
        silence_libtiff()
        tiff_decoding.prepare(image)
    deep = source.key and image.mode == "RGB" and image.tile[0].args == "RGB;16B"
    if source.key and image.mode in ("1", "L", "RGB") and not deep:
        image.info["transparency"] = source.key[0] if len(source.key) == 1 else source.key
    covered = gif.covered(image)
    kind = bmp.ask_for_pixels(image) if source.masks else ""
    image.load()
    if source.format == "PNG":
        png.check_rows(image, source)
    if deep:
        png.put_alpha(image, source)
    gif.clear_around(image, covered)
    for holder in ("fp", "_decoder"):
        # Decoders keep the file, and a copy of the pixels.
        if hasattr(image, holder):
            setattr(image, holder, None)
    decoded = bmp.unpacked(image, kind, source.masks) if source.masks else image
    if source.format == "BMP" and decoded.mode == "RGBA" and decoded.getchannel("A").getextrema() == (0, 0):
        decoded.putalpha(255)  # many writers leave the alpha of a BMP at 0
    return decoded


def _upright(image: Image.Image, turned: int) -> Image.Image:
    return image if turned == 1 else image.transpose(TRANSPOSITIONS[turned])
