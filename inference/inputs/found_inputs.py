"""Sorting what users name into files that become a shard each, and loose images, on this machine or behind URLs."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from ...images.file_entry import open_regular, printable
from ...images.finding.index import folder_files
from ...images.finding.inputs import ALLOWED_ANYWHERE, Input, expand_inputs
from ...images.finding.remote import WITHOUT_GLOBS, RemoteFolder, RemoteObject, find_remote
from ...tokenizer.remote_files import protocol_of
from .companions import Keep
from .loose_gathering import LooseImages
from .parquet_columns import has_pyarrow
from .parquet_samples import has_no_images
from .samples import kind_of
from .token_tars import holds_tokens

TAR, PARQUET = ".tar", ".parquet"
STATS = "_stats.json"
"""What img2dataset writes beside its shards, with a .parquet of the same rows; both are passed over."""
TOKEN_SHARD = "token shard"
"""The kind under which a tar of vistok in a folder is passed over."""


class InputShard(NamedTuple):
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
    shards: list[InputShard] = field(default_factory=list)

    def add_folder(self, folder: str, out: str | None) -> None:
        """Walk a folder, `out` left out."""
        found = folder_files(folder, out)
        own = {name for name in found if name.lower().endswith(TAR) and _is_token_shard(os.path.join(folder, name))}
        if own:
            self.loose.passed_over[TOKEN_SHARD] += len(own)
        names = [name for name in found if name not in own] if own else found
        shards = self._shards_among(names, folder)
        self.shards += [InputShard(os.path.join(folder, name)) for name in names if name in shards]
        self.loose.add_folder(folder, [name for name in names if name not in shards] if shards else names)

    def add_remote_folder(self, found: RemoteFolder) -> None:
        """Add what is below a URL."""
        shards = self._shards_among([each.url for each in found.objects])
        self.shards += [InputShard(each.url, each) for each in found.objects if each.url in shards]
        self.loose.add_remote_folder(found, (each for each in found.objects if each.url not in shards))

    def add_object(self, found: RemoteObject) -> None:
        """Add one object behind a URL."""
        if _is_shard(found.url) and not found.problem:
            self.shards.append(InputShard(found.url, found))
        else:
            self.loose.add_object(found)

    def add_file(self, given: Input) -> None:
        """Add one file."""
        if not given.problem and _describes_shard(given.path):
            self.loose.passed_over[kind_of(given.path)] += 1
        elif _is_shard(given.path) and not given.problem:
            self.shards.append(InputShard(given.path))
        else:
            self.loose.add_file(given)

    def _shards_among(self, names: Sequence[str], folder: str = "") -> set[str]:
        """Return the names of the shards, without tables that describe images; those of a local folder are looked into."""
        shards = {name for name in names if _is_shard(name)}
        parquets = {os.path.splitext(name)[0]: name for name in shards if name.lower().endswith(PARQUET)}
        if parquets:
            tars = {os.path.splitext(name)[0] for name in shards if name.lower().endswith(TAR)}
            folders = {os.path.dirname(name) for name in names}
            for stem, name in parquets.items():
                is_beside = stem in folders
                if stem in tars or (_describes_images(os.path.join(folder, name), is_beside) if folder else is_beside):
                    shards.remove(name)
        return shards


def find_inputs(inputs: Iterable[str], keep: Keep, out: str | None) -> FoundInputs:
    """Find what users name, the folder `out` left out; raise ValueError for what does not exist, OSError when a store fails."""
    found = FoundInputs(LooseImages(keep))
    for is_remote, given in groupby(expand_inputs(inputs, ALLOWED_ANYWHERE), lambda each: bool(protocol_of(each.path))):
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
            raise ValueError(f"{printable(each.path)} {found.problem}: {ALLOWED_ANYWHERE}.")
        else:
            inputs.add_object(found._replace(problem=f"{found.problem} ({each.place})") if found.problem else found)


def _is_token_shard(path: str) -> bool:
    try:
        with open_regular(path) as file:
            return bool(holds_tokens(file))
    except OSError:  # reading it reports why
        return False


def _is_shard(path: str) -> bool:
    return _bare(path).lower().endswith((TAR, PARQUET))


def _describes_shard(path: str) -> bool:
    """Return whether a local file is metadata of img2dataset, whose shard is beside it."""
    stem = path.removesuffix(STATS)
    if stem != path:
        return any(os.path.exists(stem + ending) for ending in (TAR, PARQUET, ""))
    stem, ending = os.path.splitext(path)
    is_beside = ending.lower() == PARQUET and any(os.path.exists(stem + other) for other in (TAR, ""))
    return is_beside and _describes_images(path, is_beside)


def _describes_images(path: str, is_beside: bool) -> bool:
    """Return whether a local parquet file has no images; without pyarrow, the name that it shares with a shard says so."""
    return has_no_images(path) if has_pyarrow() else is_beside


def _bare(path: str) -> str:
    """Return a path, or a URL without its query."""
    return path.partition("?")[0] if protocol_of(path) in WITHOUT_GLOBS else path
