"""Sorting what users name into files that become a shard each, and loose images, on this machine or behind URLs."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from ...images.file_entry import printable
from ...images.finding.index import folder_files
from ...images.finding.inputs import ALLOWED, Input, expand_inputs
from ...images.finding.remote import WITHOUT_GLOBS, RemoteFolder, RemoteObject, find_remote
from ...tokenizer.remote_files import protocol_of
from .companions import Keep
from .loose_gathering import LooseImages
from .samples import kind_of

TAR, PARQUET = ".tar", ".parquet"
STATS = "_stats.json"
"""What img2dataset writes beside its shards, with a .parquet of the same rows; both are passed over."""


class ShardFile(NamedTuple):
    """A tar or a parquet file, whose samples become one shard."""

    path: str
    found: RemoteObject | None = None
    """Behind a URL: the object as it was when it was found."""

    @property
    def base(self) -> str:
        """The last part of its path or URL."""
        return os.path.basename(_bare(self.path))

    @property
    def is_parquet(self) -> bool:
        """Whether it is a parquet file."""
        return self.base.lower().endswith(PARQUET)


@dataclass
class FoundInputs:
    """All inputs of a call."""

    loose: LooseImages
    shards: list[ShardFile] = field(default_factory=list)

    def add_folder(self, folder: str, out: str | None) -> None:
        """Walk a folder, `out` left out."""
        names = folder_files(folder, out)
        shards = self._shards_among(names)
        self.shards += [ShardFile(os.path.join(folder, name)) for name in names if name in shards]
        self.loose.add_folder(folder, [name for name in names if name not in shards] if shards else names)

    def add_remote_folder(self, found: RemoteFolder) -> None:
        """Add what is below a URL."""
        shards = self._shards_among([each.url for each in found.objects])
        self.shards += [ShardFile(each.url, each) for each in found.objects if each.url in shards]
        self.loose.add_remote_folder(found, (each for each in found.objects if each.url not in shards))

    def add_object(self, found: RemoteObject) -> None:
        """Add one object behind a URL."""
        if _is_shard(found.url) and not found.problem:
            self.shards.append(ShardFile(found.url, found))
        else:
            self.loose.add_object(found)

    def add_file(self, given: Input) -> None:
        """Add one file."""
        if not given.problem and _describes_shard(given.path):
            self.loose.passed_over[kind_of(given.path)] += 1
        elif _is_shard(given.path) and not given.problem:
            self.shards.append(ShardFile(given.path))
        else:
            self.loose.add_file(given)

    def _shards_among(self, names: Sequence[str]) -> set[str]:
        """Return the names of the shards, without the metadata of img2dataset's."""
        shards = {name for name in names if _is_shard(name)}
        parquets = {os.path.splitext(name)[0]: name for name in shards if name.lower().endswith(PARQUET)}
        if parquets:  # a tar, or a folder of images, beside it has the images of its rows
            with_images = {os.path.splitext(name)[0] for name in shards if name.lower().endswith(TAR)}
            with_images |= {os.path.dirname(name) for name in names}
            shards -= {name for stem, name in parquets.items() if stem in with_images}
        return shards


def find_inputs(inputs: Iterable[str], keep: Keep, out: str | None) -> FoundInputs:
    """Find what users name, the folder `out` left out; raise ValueError for what does not exist, OSError when a store fails."""
    found = FoundInputs(LooseImages(keep))
    for is_remote, given in groupby(expand_inputs(inputs), lambda each: bool(protocol_of(each.path))):
        if is_remote:
            _add_remote(list(given), found)
            continue
        for each in given:
            if each.is_folder:
                found.add_folder(each.path, out)
            else:
                found.add_file(each)
    return found


def _add_remote(given: list[Input], inputs: FoundInputs) -> None:
    for each, found in zip(given, find_remote(each.path for each in given), strict=True):
        if isinstance(found, RemoteFolder):
            inputs.add_remote_folder(found)
        elif found.problem and not each.place:
            raise ValueError(f"{printable(each.path)} {found.problem}: {ALLOWED}.")
        else:
            inputs.add_object(found._replace(problem=f"{found.problem} ({each.place})") if found.problem else found)


def _is_shard(path: str) -> bool:
    return _bare(path).lower().endswith((TAR, PARQUET))


def _describes_shard(path: str) -> bool:
    """Return whether a file is metadata of img2dataset, whose shard is beside it."""
    stem = path.removesuffix(STATS)
    if stem != path:
        return any(os.path.exists(stem + ending) for ending in (TAR, PARQUET, ""))
    stem, ending = os.path.splitext(path)
    return ending.lower() == PARQUET and any(os.path.exists(stem + other) for other in (TAR, ""))


def _bare(path: str) -> str:
    """Return a path, or a URL without its query."""
    return path.partition("?")[0] if protocol_of(path) in WITHOUT_GLOBS else path
