"""Images to train on: any number of sources, each folders or webdataset shards."""

import hashlib
import os
import re
from typing import Annotated, Any, Literal, TypeAlias

from annotated_types import Len
from pydantic import Field, field_validator

from ..images.index import Entry, index_pictures
from ..tokenizer.config import Config, Pattern
from .tolerance import Tolerance

OnError: TypeAlias = Literal["skip", "stop"]


class SourceConfig(Config):
    """Pictures that belong together."""

    path: Annotated[list[str], Len(1)]
    """A folder, a .tar shard, shards with a brace range such as photos-{0000..0009}.tar, or a list of these, taken as one."""
    names: Pattern = ".*"
    """Regular expression that the file name of a picture must match; others are left out."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """How many of the crops come from here, relative to the other sources."""
    share: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.0, 1.0)
    """From where to where the pictures are taken, in an order that their file names decide; [0, 0.1] and [0.1, 1] split."""
    short_sides: Annotated[list[Annotated[int, Field(ge=1)]], Len(1)] | None = None
    """Sizes that the short side is resized to before cropping, one drawn for each crop; none takes data.short_sides."""

    @field_validator("path", mode="before")
    @classmethod
    def _one_path_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @property
    def where(self) -> str:
        """The paths in words."""
        return ", ".join(self.path)


class DataConfig(Config):
    """What is trained on, and how it is cut into batches."""

    train: Annotated[list[SourceConfig], Len(1)] = Field(examples=["FOLDER"])
    """Sources of training pictures: a path, a list of paths, or a list of sources."""
    val: list[SourceConfig] = []
    """Sources of validation pictures, as for train; brought to the tokenizer's own preprocessing."""
    short_sides: Annotated[list[Annotated[int, Field(ge=1)]], Len(1)] | None = None
    """Sizes for the short side of the images, for sources that have none of their own; none keeps images as they are."""
    size: Annotated[int, Field(ge=8)] = 256
    """Side of the training crops in pixels."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Crops of a step over all processes."""
    workers: Annotated[int, Field(ge=0)] = 1
    """Processes that read and crop pictures, for each training process."""
    flip: bool = True
    """Whether half of the crops are mirrored."""
    on_error: OnError = "skip"
    """At an image that cannot be read: skip, so that another one takes its place, or stop."""
    max_unreadable: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of the images drawn so far that may be skipped, and in any case fewer than 10; above it the run stops."""
    cached_pictures: Annotated[int, Field(ge=0)] = 0
    """Resized pictures that each worker keeps in memory; for small collections this saves decoding them again."""

    @property
    def tolerance(self) -> Tolerance:
        """How many unreadable images are put up with."""
        return Tolerance(self.on_error == "stop", self.max_unreadable)

    @field_validator("train", "val", mode="before")
    @classmethod
    def _paths_are_sources(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("no pictures are named: give a folder, a .tar shard, or a .txt list.")
        listed = value if isinstance(value, list) else [value]
        return [{"path": item} if isinstance(item, str) else item for item in listed]


def source_pictures(source: SourceConfig) -> list[Entry]:
    """Return the pictures of a source, each once; raise ValueError when a path of it has none."""
    entries = (entry for path in source.path for entry in index_pictures(path))
    found = list({(os.path.realpath(entry.path), entry.offset): entry for entry in entries}.values())
    named = [entry for entry in found if re.fullmatch(source.names, os.path.basename(entry.name))]
    if not named:
        raise ValueError(
            f"no picture of {source.where} has a name that matches {source.names!r}, the first is {found[0].name!r}: "
            "change names."
        )
    if source.share == (0.0, 1.0):
        return named
    ordered = sorted(named, key=lambda entry: hashlib.sha256(os.path.basename(entry.name).encode()).digest())
    first, last = (round(edge * len(ordered)) for edge in source.share)
    if first >= last:
        raise ValueError(
            f"share {list(source.share)} of the {len(named)} pictures of {source.where} is none: widen it."
        )
    return ordered[first:last]
