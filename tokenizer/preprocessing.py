"""The preprocessing that a tokenizer was trained with; its tokens depend on it. Values only."""

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from .config import Config

MAX_AREA_SIDE = 8192
MAX_SIDE = 1 << 14
"""Of squares; larger ones are slips of the keyboard, or exhaust the memory."""
AREA = re.compile("area:([0-9]{1,9})(?:-([0-9]{1,9}))?")


def _area(text: Any) -> Any:
    low, high = _area_sides(text) if isinstance(text, str) else (0, 0)
    if not 1 <= low <= high <= MAX_AREA_SIDE:
        raise PydanticCustomError("area", f"area:N or area:MIN-MAX, from 1 to {MAX_AREA_SIDE}")
    return text


def _area_sides(text: str) -> tuple[int, int]:
    match = AREA.fullmatch(text)
    return (int(match[1]), int(match[2] or match[1])) if match else (0, 0)


Area: TypeAlias = Annotated[str, BeforeValidator(_area)]
"""area:N or area:MIN-MAX."""
Resampling: TypeAlias = Literal["bicubic", "lanczos", "bilinear", "box", "linear"]


class PreprocessingConfig(Config):
    """How an image becomes pixels. Transparent images are blended onto `background`; EXIF orientation is applied."""

    size: Annotated[int, Field(ge=1, le=MAX_SIDE)] | Literal["native"] | Area = 256
    """Side of the square that images are resized and cropped to, native to keep their size, or area:N or area:MIN-MAX.

    area:N keeps the aspect ratio and resizes to the area of a square of N x N pixels, with sides rounded to the nearest
    multiples (Emu3.5, arXiv 2510.26583). area:MIN-MAX keeps the size too, apart from that rounding, unless the area would be
    less than MIN x MIN or more than MAX x MAX pixels (Emu3, arXiv 2409.18869).
    """
    crop: Literal["centre", "even_centre", "none"] = "centre"
    """Which square is kept after the short side is resized to size.

    Where the centre is between two pixels, centre takes the upper or left one, and even_centre rounds half to even as
    torchvision does. none resizes the long side, and adds background around the image.
    """
    resize_ratio: Annotated[float, Field(ge=1, le=8)] = 1.0
    """Length of the short side before the crop, as a multiple of size (VAR, arXiv 2404.02905, has 1.125)."""
    halve_first: bool = False
    """Whether large images are first halved by a box filter, as often as their short side allows (ADM, arXiv 2105.05233)."""
    rounding: Literal["nearest", "down"] = "nearest"
    """Rounding of the other side after a resize to size; torchvision rounds down."""
    resampling: Resampling = "bicubic"
    """Filter of the resize, antialiased; linear is bilinear without antialiasing, as in OpenCV."""
    multiple: Annotated[int, Field(ge=1, le=1024)] = 1
    """What the sides of native images and those of an area are multiples of, besides the downsampling."""
    fit: Literal["repeat", "surround", "shrink"] = "repeat"
    """How native images get such sides: repeat the last row and column, surround with background, or shrink to them."""
    background: tuple[int, int, int] = (255, 255, 255)
    """Colour behind transparent images, and of what is added around an image, RGB in 0 to 255."""
    blending: Literal["rounded", "truncated"] = "rounded"
    """Whether colours that are blended onto background are rounded or truncated to whole numbers."""
    colour: Literal["srgb", "ignore"] = "srgb"
    """Effect of an ICC profile in the file: srgb converts the image to sRGB, ignore leaves the values unchanged."""

    @property
    def side(self) -> int | None:
        """Side of the square that all images become; None if images differ in size."""
        return self.size if isinstance(self.size, int) else None

    @property
    def area(self) -> tuple[int, int] | None:
        """Sides of the squares of the min and the max area; None if size is no area."""
        return _area_sides(self.size) if isinstance(self.size, str) and self.size != "native" else None
