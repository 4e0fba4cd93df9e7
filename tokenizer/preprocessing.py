"""The preprocessing that a tokenizer was trained with; its tokens depend on it. Values only."""

from typing import Annotated, Literal

from pydantic import Field

from .config import Config


class PreprocessingConfig(Config):
    """How an image becomes pixels. Transparent images are blended onto `background`; EXIF orientation is applied."""

    size: Annotated[int, Field(ge=1)] | Literal["native"] = 256
    """Side of the square that images are resized and cropped to, in pixels, or native to keep their size and pad it."""
    crop: Literal["centre"] = "centre"
    """Which square is kept after the short side is resized to size."""
    resampling: Literal["bicubic", "lanczos", "bilinear", "box"] = "bicubic"
    """Filter of the resize, antialiased."""
    background: tuple[int, int, int] = (255, 255, 255)
    """Colour behind transparent images, RGB in 0 to 255."""
    colour: Literal["srgb", "ignore"] = "srgb"
    """Effect of an ICC profile in the file: srgb converts the image to sRGB, ignore leaves the values unchanged."""
