"""Images to train on: any number of sources, each folders or webdataset shards."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from ...tokenizer.config import Config, Pattern
from .tolerance import ToleratingConfig


class SourceConfig(Config):
    """Images that belong together."""

    path: Annotated[list[str], Field(min_length=1)]
    """A folder, a .tar shard, shards with a brace range such as photos-{0000..0009}.tar, or a list of these, taken as one."""
    names: Pattern = ".*"
    """Regular expression that the file name of a image must match; others are left out."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """How many of the crops come from here, relative to the other sources."""
    share: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.0, 1.0)
    """From where to where the images are taken, in an order that their file names decide; [0, 0.1] and [0.1, 1] split."""
    short_sides: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] | None = None
    """Sizes that the short side is resized to before cropping, one drawn for each crop; none takes data.short_sides."""

    @field_validator("path", mode="before")
    @classmethod
    def _one_path_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @property
    def where(self) -> str:
        """The paths in words."""
        return ", ".join(self.path)


class DataConfig(ToleratingConfig):
    """What is trained on, and how it is cut into batches."""

    train: Annotated[list[SourceConfig], Field(min_length=1)] = Field(examples=["FOLDER"])
    """Sources of training images: a path, a list of paths, or a list of sources."""
    val: list[SourceConfig] = []
    """Sources of validation images, as for train; brought to the tokenizer's own preprocessing."""
    short_sides: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] | None = None
    """Sizes for the short side of the images, for sources that have none of their own; none keeps images as they are."""
    size: Annotated[int, Field(ge=8)] = 256
    """Side of the training crops in pixels."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Crops of a step over all processes."""
    workers: Annotated[int, Field(ge=0)] = 1
    """Processes that read and crop images, for each training process."""
    flip: bool = True
    """Whether half of the crops are mirrored."""
    cached_images: Annotated[int, Field(ge=0)] = 0
    """Resized images that each worker keeps in memory, up to 4 GiB; for small collections this saves decoding them again."""

    @field_validator("train", "val", mode="before")
    @classmethod
    def _paths_are_sources(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("no images are named: give a folder, a .tar shard, or a .txt list.")
        listed = value if isinstance(value, list) else [value]
        return [{"path": item} if isinstance(item, str) else item for item in listed]
