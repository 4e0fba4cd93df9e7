"""The square that images are cropped to where tokenizers are compared on the same pixels."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from ...tokenizer.folder.config_json import TokenizerConfig
from ...tokenizer.preprocessing import PreprocessingConfig
from ...tokenizer.wording import list_first

DEFAULT_SIDE = 256
"""Side where no tokenizer has a size of its own."""


class CommonCrop(NamedTuple):
    """A preprocessing that all tokenizers take, or None, and a sentence that says why this one, or why none."""

    preprocessing: PreprocessingConfig | None
    sentence: str


def common_crop(configs: Mapping[str, TokenizerConfig]) -> CommonCrop:
    """Return the crop that the tokenizers, by name, are compared on.

    Its side is the only one that a tokenizer takes, or else the largest that is no larger than any tokenizer's own size, in
    multiples of every downsampling. All else is vistok's default preprocessing, whatever the tokenizers' own.
    """
    multiple = math.lcm(*(config.architecture.downsample for config in configs.values()))
    only = {name: side for name, config in configs.items() if (side := config.architecture.image_size) is not None}
    if len(set(only.values())) > 1:
        sizes = list_first([f"{name} takes {side} x {side} pixels alone" for name, side in only.items()], shown=3)
        return CommonCrop(None, f"There is no common crop: {sizes}.")
    if only:
        name, side = next(iter(only.items()))
        if side % multiple:
            return CommonCrop(
                None,
                f"There is no common crop: {name} takes {side} x {side} pixels alone, and the sides of all tokenizers would "
                f"be multiples of {multiple}.",
            )
        chosen = f"the only size that {name} takes"
    else:
        own = [side for config in configs.values() if (side := _own_side(config.preprocessing)) is not None]
        side = max(multiple, min(own, default=DEFAULT_SIDE) // multiple * multiple)
        chosen = f"the largest square that is no larger than any tokenizer's own, in multiples of {multiple} pixels"
        if not own:
            chosen = f"in multiples of {multiple} pixels, since no tokenizer has a size of its own"
    preprocessing = PreprocessingConfig(size=side)
    return CommonCrop(
        preprocessing,
        f"The common crop is {side} x {side} pixels: {chosen}. Each image is resized to it once ({preprocessing.resampling}, "
        "short side, then the centre), and all reconstructions are compared with these pixels.",
    )


def _own_side(preprocessing: PreprocessingConfig) -> int | None:
    """Return the side of the square, or of the square of the max area, that images are resized to; None if they are not."""
    return preprocessing.area[1] if preprocessing.area else preprocessing.side
