"""Views: the rows that one image becomes (`--crops`, `--flip`), all cut from the image as it was decoded once."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ...images.sizes import original_box
from ...tokenizer.config import Config
from ...tokenizer.preprocessing import PreprocessingConfig
from .reading import ReadImage

FLIPPED = "flipped"
CORNERS = {"top-left": (0, 0), "top-right": (0, 1), "bottom-left": (1, 0), "bottom-right": (1, 1)}
"""Which end of the rows and of the columns a corner is at: 0 for the first."""
MIDDLE = "middle"
WHOLE = "original"
"""The one crop of an image, beside its mirror image."""


class Views(Config):
    """Which rows an image becomes."""

    crops: Literal["one", "ten"] = "one"
    """one is what the preprocessing makes of an image. ten is the four corners and the middle of a larger square, and their
    mirror images, as LlamaGen (arXiv 2406.06525) makes training sets."""
    resize_ratio: Annotated[float, Field(ge=1, le=8)] = 1.1
    """Side of that larger square, rounded down, as a multiple of the side of the crops; LlamaGen has 1.1 and 1.05."""
    flip: bool = False
    """Whether an image also becomes its mirror image."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the rows of an image, in order; empty where an image is one row, whose key is its own."""
        if self.crops == "ten":
            crops = (*CORNERS, MIDDLE)
            return (*crops, *(f"{name}-{FLIPPED}" for name in crops))
        return (WHOLE, FLIPPED) if self.flip else ()

    @property
    def rows(self) -> int:
        """Number of rows of an image."""
        return max(1, len(self.names))

    def options(self) -> dict[str, str]:
        """Return the options that gave these views, as users type them."""
        crops = f"ten --resize-ratio {self.resize_ratio:g}" if self.crops == "ten" else self.crops
        return {"--crops": crops, "--flip": "given" if self.flip else "left out"}

    def canvas(self, config: PreprocessingConfig) -> PreprocessingConfig:
        """Return the preprocessing of what the views are cut from."""
        if self.crops == "one":
            return config
        assert config.side
        return config.model_copy(update={"size": int(config.side * self.resize_ratio), "resize_ratio": 1.0})

    def check(self, config: PreprocessingConfig) -> None:
        """Raise ValueError unless images of this preprocessing have ten crops, where these are wanted."""
        if self.crops == "ten" and not config.side:
            raise ValueError(
                f"--crops ten cuts squares of one size, but the size is {config.size}: give --size a number, or leave "
                "--crops out."
            )
        if self.crops == "ten" and config.crop == "none":
            raise ValueError(
                "--crops ten cuts squares, but this model's preprocessing pads the whole image to one: leave --crops out, "
                "or choose another model."
            )


ONE_ROW = Views()
"""The preprocessed image alone, under its own key."""


def parse_views(crops: str, resize_ratio: float | None, flip: bool) -> Views:
    """Return the views of the options; raise ValueError when they do not fit together."""
    if crops == "one" and resize_ratio is None:
        return Views(flip=flip)
    if crops == "one":
        raise ValueError("--resize-ratio is for ten crops: give --crops ten too, or leave it out.")
    if crops != "ten":
        raise ValueError(f"--crops is {crops!r}, but must be one or ten.")
    if flip:
        raise ValueError("--crops ten has the mirror images already: leave --flip out.")
    if resize_ratio is None:
        return Views(crops="ten")
    if not 1 <= resize_ratio <= 8:
        raise ValueError(f"--resize-ratio is {resize_ratio:g}, but must be from 1 to 8, such as 1.1 or 1.05.")
    return Views(crops="ten", resize_ratio=resize_ratio)


def row_key(key: str, view: str) -> str:
    """Return the key of a view of an image. No two views share one: names have no underscore, and every row has a name."""
    return f"{key}_{view}"


def image_key(key: str, metadata: Mapping[str, Any]) -> str:
    """Return the key of the image of a row."""
    view = metadata.get("view")
    return key.removesuffix(f"_{view}") if view else key


def rows_of(image: ReadImage, views: Views, config: PreprocessingConfig, downsample: int) -> list[ReadImage]:
    """Return the rows of an image that was read with `views.canvas(config)`; their pixels share its memory where they can."""
    if not views.names:
        return [image]
    cuts = _ten_crops(image.pixels, config) if views.crops == "ten" else _and_flipped(image, config, downsample)
    return [
        ReadImage(replace(image.sample, key=row_key(image.sample.key, name)), pixels, {**image.metadata, "view": name})
        for name, pixels in zip(views.names, cuts, strict=True)
    ]


def _ten_crops(square: np.ndarray, config: PreprocessingConfig) -> Iterator[np.ndarray]:
    """Yield the corners and the middle `h w c`, then their mirror images.

    The mirrored middle is the middle of the mirrored square, a pixel beside the other where the excess is odd (torchvision).
    """
    side = config.side
    assert side
    excess = len(square) - side
    middle = round(excess / 2)
    starts = [(excess * down, excess * right) for down, right in CORNERS.values()]
    for top, left in (*starts, (middle, middle)):
        yield square[top : top + side, left : left + side]
    for top, left in (*starts, (middle, excess - middle)):
        yield square[top : top + side, left : left + side][:, ::-1]


def _and_flipped(image: ReadImage, config: PreprocessingConfig, downsample: int) -> Iterator[np.ndarray]:
    """Yield an image and its mirror image; what was added around it stays where it is."""
    yield image.pixels
    width, metadata = image.pixels.shape[1], image.metadata
    box = original_box(config, metadata["height"], metadata["width"], downsample)
    if box is None or (box[0] == 0 and box[2] == width):
        yield image.pixels[:, ::-1]
        return
    left, _, right, _ = box
    columns = np.arange(width)
    columns[left:right] = columns[left:right][::-1]
    if config.fit == "repeat" and config.size == "native":
        columns[right:] = left  # the last column of the mirror image
    yield image.pixels[:, columns]
