"""Open an image file as an upright RGB image, whatever its format, mode and orientation."""

import io
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, cast

from PIL import Image, ImageFile, UnidentifiedImageError

from ..formats import bmp, gif, png, tiff
from ..formats.decoder_input import DecoderInput
from ..formats.decoder_input import ImageError as ImageError
from ..formats.exif_orientation import current_orientation, decoded_orientation, upright
from ..formats.inspect_file import inspect_file
from .decoding_errors import ErrorKeepingFile, as_image_errors, silence_libtiff
from .memory_budget import BUDGET
from .to_rgb import Blending, Colour, to_rgb

MAX_PIXELS = 1 << 27
"""Larger images (134 million pixels) are refused before decoding: a small file can claim any size."""
DRAFT_ABOVE = 1 << 26
"""Larger JPEGs (67 million pixels) are decoded at 1/2, 1/4 or 1/8 of their size where that is enough."""


def open_image(
    content: bytes | BinaryIO,
    background: tuple[int, int, int] = (255, 255, 255),
    colour: Colour = "srgb",
    blending: Blending = "rounded",
) -> Image.Image:
    """Return the first frame as RGB: EXIF orientation applied, transparency blended over `background`.

    The ICC profile is converted to sRGB, unless `colour` is ignore. Raises ImageError for an empty, broken, truncated, unknown
    or far too large file; errors of reading the file pass through.
    """
    with opened(content, background, colour, blending) as (image, _, _):
        return image


@contextmanager
def opened(
    content: bytes | BinaryIO,
    background: tuple[int, int, int],
    colour: Colour,
    blending: Blending = "rounded",
    side: int | None = None,
    more_bytes: int = 0,
) -> Iterator[tuple[Image.Image, int, int]]:
    """Open an image as open_image does, and hold its part of the memory budget until the end of the body.

    Yields the image, and width and height of the upright original. A very large JPEG is decoded smaller, as long as both
    sides keep twice `side` pixels. `more_bytes` are held besides, for what the body does.
    """
    file = io.BytesIO(content) if isinstance(content, bytes) else ErrorKeepingFile(content)
    with ExitStack() as held:
        with as_image_errors(file):
            source, decoder = _inspect(file, held, more_bytes)
            size = decoder.size
            _check(size)
            if side and source.format == "JPEG" and size[0] * size[1] > DRAFT_ABOVE:
                decoder.draft(None, (2 * side, 2 * side))
            if not source.size:
                _hold(held, source, decoder.size, size, more_bytes)
            image = _load(decoder, source)
            profile = (source.profile or decoder.info.get("icc_profile")) if colour == "srgb" else None
            orientation = source.orientation or decoded_orientation(decoder)
            image = upright(image, orientation)
            del decoder  # frees the memory of the image before it was turned
            image = to_rgb(image, background, profile, source.transparent, source.grey, blending)
        width, height = reversed(size) if orientation >= 5 else size
        yield image, width, height


def upright_size(file: BinaryIO) -> tuple[int, int]:
    """Return width and height of the upright image as the headers of a file have them, without decoding it.

    Raises what `open_image` raises, as far as it shows before the pixels. A file that says its orientation behind its pixels
    may be turned.
    """
    kept = ErrorKeepingFile(file)
    with ExitStack() as held, as_image_errors(kept):
        source, decoder = _inspect(kept, held, 0)
        width, height = decoder.size
        is_turned = (source.orientation or decoded_orientation(decoder)) >= 5
        return (height, width) if is_turned else (width, height)


def upright_rgb(
    image: Image.Image, background: tuple[int, int, int], colour: Colour = "srgb", blending: Blending = "rounded"
) -> Image.Image:
    """Return a copy of an opened image as RGB: EXIF orientation and ICC profile applied, transparency over `background`.

    Raises ImageError when its file turns out to be broken, or when it has no pixels.
    """
    with as_image_errors():
        image.load()
        if 0 in image.size:
            raise ImageError(f"{image.width} x {image.height} has no pixels")
        key = image.info.get("transparency")
        turned = upright(image, current_orientation(image))
        profile = image.info.get("icc_profile") if colour == "srgb" else None
        transparent = (key,) if isinstance(key, int) else ()
        return to_rgb(turned, background, profile, transparent, tiff.grey_of_opened(image), blending)


def _inspect(
    file: io.BytesIO | ErrorKeepingFile, held: ExitStack, more_bytes: int
) -> tuple[DecoderInput, ImageFile.ImageFile]:
    """Open a file up to its pixels, within the limits; hold memory where the decoder takes it at once."""
    source = inspect_file(cast(BinaryIO, file))
    if source.size:
        _check(source.size)
        _hold(held, source, source.size, source.size, more_bytes)
    return source, _open(source)


def _open(source: DecoderInput) -> ImageFile.ImageFile:
    try:
        return Image.open(source.file, formats=[source.format])
    except UnidentifiedImageError:
        raise ImageError(f"broken image: no decoder reads this {source.description or source.format}") from None
    except Image.DecompressionBombError as error:  # Pillow's own limit; its message begins with the number of pixels
        raise ImageError(f"{re.findall(r'[0-9]+', str(error))[0]} is more than {MAX_PIXELS} pixels") from None


def _check(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width} x {height} is more than {MAX_PIXELS} pixels")


def _hold(
    held: ExitStack, source: DecoderInput, size: tuple[int, int], whole: tuple[int, int], more_bytes: int
) -> None:
    decoded, coded = size[0] * size[1], whole[0] * whole[1]
    amount = decoded * source.bytes_per_pixel + coded * source.bytes_per_coded_pixel
    held.enter_context(BUDGET.hold(amount + more_bytes))


def _load(image: ImageFile.ImageFile, source: DecoderInput) -> Image.Image:
    if source.format == "TIFF":
        silence_libtiff()
        tiff.prepare(image)
    is_deep = source.transparent and image.mode == "RGB" and image.tile[0].args == "RGB;16B"
    if source.transparent and image.mode in ("1", "L", "RGB") and not is_deep:
        single = len(source.transparent) == 1
        image.info["transparency"] = source.transparent[0] if single else source.transparent
    frame = gif.frame_box(image)
    integers = bmp.decode_as_integers(image) if source.masks else ""
    image.load()
    if source.format == "PNG":
        png.check_rows(image, source)
    if is_deep:
        png.add_alpha_of_16_bits(image, source)
    gif.clear_around(image, frame)
    for holder in ("fp", "_decoder"):
        # Decoders hold the file and a copy of the pixels.
        if hasattr(image, holder):
            setattr(image, holder, None)
    decoded = bmp.apply_masks(image, integers, source.masks) if source.masks else image
    if source.format == "BMP" and decoded.mode == "RGBA" and decoded.getchannel("A").getextrema() == (0, 0):
        decoded.putalpha(255)  # many programs write 0 as the alpha of opaque pixels
    return decoded
