"""Process large images a few rows at a time, so that intermediate copies stay small."""

from collections.abc import Callable, Iterator

from PIL import Image

STRIP_PIXELS = 1 << 20


def strips(image: Image.Image) -> Iterator[Image.Image]:
    """Yield strips of about a million pixels, from the top."""
    rows = max(1, STRIP_PIXELS // max(1, image.width))
    if rows >= image.height:
        yield image
        return
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


def by_strips(convert: Callable[..., Image.Image], *images: Image.Image) -> Image.Image:
    """Return the image that `convert` makes of images of one size, strip by strip."""
    whole, top = None, 0
    for parts in zip(*map(strips, images), strict=True):
        converted = convert(*parts)
        if parts[0] is images[0]:
            return converted
        whole = whole or Image.new(converted.mode, images[0].size)
        whole.paste(converted, (0, top))
        top += converted.height
    assert whole
    return whole
