"""What a fine-tuning trains on, and what it is judged on."""

from typing import NamedTuple

from ..data.config import SourceConfig
from ..data.source_images import SourceImages
from .config import FinetuneConfig


class Split(NamedTuple):
    """The images of a fine-tuning."""

    train: SourceConfig
    val: SourceConfig
    note: str
    """What was held out, in words."""


def split_images(config: FinetuneConfig, listing: SourceImages) -> Split:
    """Return what is trained on and what is judged on, by the file names of the images alone, wherever they lie."""
    data = config.data
    everything = SourceConfig(path=data.train)
    if data.val:
        return Split(everything, SourceConfig(path=data.val), "judged on the images of data.val")
    share = data.held_out
    count = len(listing.of(everything))
    held = round(count * share)
    if held < 1 or held == count:
        note = f"too few images to hold any out ({count}): judged on the training images themselves"
        return Split(everything, everything, note)
    train_part = everything.model_copy(update={"split": (share, 1.0)})
    val_part = everything.model_copy(update={"split": (0.0, share)})
    return Split(train_part, val_part, f"{held} of {count} images are held out, and judged on")
