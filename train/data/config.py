"""The configuration of training images: any number of sources, each made of folders or webdataset shards."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from ...tokenizer.config import Config, Pattern
from .unreadable_images import UnreadableLimit


class SourceConfig(Config):
    """Images that belong together."""

    path: Annotated[list[str], Field(min_length=1)]
    """A folder, a .tar shard, a brace range such as photos-{0000..0009}.tar, or a list of these, read as one source."""
    names: Pattern = ".*"
    """Regular expression that the whole file name of an image must match; other images are left out."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Number of crops taken from this source, relative to the other sources."""
    split: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.0, 1.0)
    """First and last fraction of the images, ordered by a hash of their file names: [0, 0.1] and [0.1, 1] do not overlap."""
    short_sides: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] | None = None
    """Sizes that the short side is resized to before cropping, one drawn for each crop; null uses data.short_sides."""

    @field_validator("path", mode="before")
    @classmethod
    def _wrap_single_path(cls, value: Any) -> Any:
        return value if isinstance(value, list) else [value]

    @property
    def where(self) -> str:
        return ", ".join(self.path)


class ReadingConfig(Config):
    """Keys shared by every section that reads images."""

    on_error: Literal["skip", "stop"] = "skip"
    """What to do at an unreadable image: skip it and use another one, or stop."""
    max_unreadable: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Fraction of unreadable images above which the work stops; fewer than 10 never stop it."""

    @property
    def unreadable_limit(self) -> UnreadableLimit:
        return UnreadableLimit(self.on_error == "stop", self.max_unreadable)


class DataConfig(ReadingConfig):
    """The images of a run, and how they are cut into batches."""

    train: Annotated[list[SourceConfig], Field(min_length=1)] = Field(examples=["FOLDER"])
    """Sources of training images: a path, a list of paths, or a list of sources."""
    val: list[SourceConfig] = []
    """Sources of validation images, written as in train; they get the tokenizer's own preprocessing."""
    short_sides: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] | None = None
    """Sizes of the short side, for sources that give none; null keeps images at their own size."""
    size: Annotated[int, Field(ge=8)] = 256
    """Side of the training crops in pixels."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Crops per step, over all processes."""
    workers: Annotated[int, Field(ge=0)] = 1
    """Processes that read and crop images, for each training process."""
    flip: bool = True
    """Whether to mirror half of the crops."""
    cached_images: Annotated[int, Field(ge=0)] = 0
    """Resized images that each worker keeps in memory, up to 4 GiB; saves decoding small collections again."""

    @field_validator("train", "val", mode="before")
    @classmethod
    def _wrap_paths(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("no images are named: give a folder, a .tar shard, or a .txt list.")
        listed = value if isinstance(value, list) else [value]
        return [item if isinstance(item, dict | SourceConfig) else {"path": item} for item in listed]
