"""The preprocessing that a tokenizer was trained with and that decides its tokens: values only."""

from typing import Annotated, Literal

from pydantic import Field

from .config import Config


class PreprocessingConfig(Config):
    """How a image becomes pixels. Transparent images are blended onto `background`; EXIF orientation is applied."""

    size: Annotated[int, Field(ge=1)] | Literal["native"] = 256
    """Side of the square that images are brought to in pixels, or native to keep their size (padded at the end)."""
    crop: Literal["centre"] = "centre"
    """Which square is kept after the short side has been resized to size."""
    resampling: Literal["bicubic", "lanczos", "bilinear", "box"] = "bicubic"
    """Filter of the resize, antialiased."""
    background: tuple[int, int, int] = (255, 255, 255)
    """Colour behind transparent images, RGB in 0 to 255."""
    colour: Literal["srgb", "ignore"] = "srgb"
    """What an ICC profile in the file does: srgb converts the image to sRGB, ignore takes the values as they are."""
