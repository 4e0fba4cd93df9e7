"""Pictures to train on: any number of sources, each folders or webdataset shards, read at random places.

Which picture, crop and flip stands at position p of a run is a pure function of the seed and p. So a run can be taken
up at any step, with any number of workers or processes, and sees exactly what it would have seen.
"""

import functools
import hashlib
import os
import re
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Len
from PIL import Image
from pydantic import Field, field_validator
from torch import Tensor
from torch.utils.data import Dataset

from ..images.index import Entry, index_pictures
from ..images.opening import PictureError, open_picture
from ..images.preprocessing import resize_short_side
from ..tokenizer.config import Config, Pattern
from .mixture import Mixture


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
    """Sizes that the short side is resized to before cropping, one drawn for each crop; none keeps pictures as they are."""

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

    train: Annotated[list[SourceConfig], Len(1)]
    """Sources of training pictures: a path, a list of paths, or a list of sources."""
    val: list[SourceConfig] = []
    """Sources of validation pictures, as for train; brought to the tokenizer's own preprocessing."""
    size: Annotated[int, Field(ge=8)] = 256
    """Side of the training crops in pixels."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Crops of a step over all processes."""
    workers: Annotated[int, Field(ge=0)] = 1
    """Processes that read and crop pictures, for each training process."""
    flip: bool = True
    """Whether half of the crops are mirrored."""
    cached_pictures: Annotated[int, Field(ge=0)] = 0
    """Resized pictures that each worker keeps in memory; for small collections this saves decoding them again."""

    @field_validator("train", "val", mode="before")
    @classmethod
    def _paths_are_sources(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("no pictures are named: give a folder, a .tar shard, or a .txt list.")
        listed = value if isinstance(value, list) else [value]
        return [{"path": item} if isinstance(item, str) else item for item in listed]


class TrainingCrops(Dataset[Tensor]):
    """Crops `h w c` as uint8, by position; a picture that cannot be read raises ValueError with its name."""

    def __init__(self, config: DataConfig, seed: int):
        self.config = config
        self.seed = seed
        self.sources = [source_pictures(source) for source in config.train]
        self.mixture = Mixture([len(entries) for entries in self.sources], [s.weight for s in config.train], seed)

    @functools.cached_property
    def _picture(self) -> Callable[[int, int, int | None], np.ndarray]:
        # Made where it is used: workers that are spawned get the rest of the object, but could not get a cache.
        return functools.lru_cache(maxsize=self.config.cached_pictures)(self._read)

    def __getitem__(self, position: int) -> Tensor:
        source, picture = self.mixture.place(position)
        generator = np.random.default_rng([self.seed, 2, position])
        sides = self.config.train[source].short_sides
        short_side = int(generator.choice(sides)) if sides else None
        pixels = self._picture(source, picture, short_side)
        size = self.config.size
        top, left = (int(generator.integers(0, extent - size + 1)) for extent in pixels.shape[:2])
        crop = pixels[top : top + size, left : left + size]
        if self.config.flip and generator.random() < 0.5:
            crop = crop[:, ::-1]
        return torch.from_numpy(crop.copy())

    def _read(self, source: int, picture: int, short_side: int | None) -> np.ndarray:
        image = open_entry(self.sources[source][picture])
        target = max(short_side or min(image.size), self.config.size)
        return np.asarray(resize_short_side(image, target, "bicubic"))


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


def open_entry(entry: Entry) -> Image.Image:
    """Open a picture of a source; raise ValueError with its name when it cannot be read."""
    try:
        return open_picture(entry.read())
    except PictureError as error:
        where = entry.name if entry.name == entry.path else f"{entry.path}: {entry.name}"
        raise ValueError(f"{where} cannot be used ({error}): repair or remove it.") from None
