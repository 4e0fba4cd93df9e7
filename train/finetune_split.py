"""What a fine-tuning trains on, and what it is judged on."""

from typing import NamedTuple

from .data import SourceConfig, source_pictures
from .finetune_config import FinetuneConfig


class Split(NamedTuple):
    """The pictures of a fine-tuning."""

    train: list[SourceConfig]
    val: list[SourceConfig]
    note: str
    """What was held out, in words."""


def split_pictures(config: FinetuneConfig) -> Split:
    """Return what is trained on and what is judged on, by the names of the pictures alone."""
    data = config.data
    if data.val:
        return Split(_sources(data.train), _sources(data.val), "judged on the pictures of data.val")
    share = data.held_out
    count = sum(len(source_pictures(source)) for source in _sources(data.train))
    if round(count * share) < 1 or round(count * share) == count:
        return Split(
            _sources(data.train),
            _sources(data.train),
            f"{count} pictures are too few to hold any out: judged on the training pictures themselves",
        )
    train_part = [source.model_copy(update={"share": (share, 1.0)}) for source in _sources(data.train)]
    val_part = [source.model_copy(update={"share": (0.0, share)}) for source in _sources(data.train)]
    held = sum(len(source_pictures(source)) for source in val_part)
    return Split(train_part, val_part, f"{held} of {count} pictures are held out, and judged on")


def _sources(paths: list[str]) -> list[SourceConfig]:
    return [SourceConfig(path=path) for path in paths]
