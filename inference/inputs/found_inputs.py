"""Sorting what users name into files that become a shard each, and loose images, on this machine or behind URLs."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import NamedTuple

from ...images.file_entry import printable
from ...images.finding.index import folder_files
from ...images.finding.inputs import ALLOWED_ANYWHERE, Input, expand_inputs
from ...images.finding.remote import RemoteFolder, RemoteObject, find_remote
from ...tokenizer.remote_files import protocol_of
from .companions import Keep
from .folder_shards import PARQUET, bare, describes_shard, is_shard, shards_among
from .loose_gathering import LooseImages
from .samples import kind_of

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
        return os.path.basename(bare(self.path))

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
        shards, loose = self._sorted_out(found, partial(os.path.join, folder))
        self.shards += [InputShard(os.path.join(folder, name)) for name in shards]
        self.loose.add_folder(folder, loose)

    def add_remote_folder(self, found: RemoteFolder, out: str | None) -> None:
        """Add what is below a URL, `out` left out."""
        root = f"{(out or '').rstrip('/')}/"
        objects = {each.url: each for each in found.objects if f"{found.url}/" == root or not each.url.startswith(root)}
        shards, loose = self._sorted_out(list(objects), str)
        self.shards += [InputShard(url, objects[url]) for url in shards]
        self.loose.add_remote_folder(found, map(objects.__getitem__, loose))

    def add_object(self, found: RemoteObject) -> None:
        """Add one object behind a URL."""
        if is_shard(found.url) and not found.problem:
            self.shards.append(InputShard(found.url, found))
        else:
            self.loose.add_object(found)

    def add_file(self, given: Input) -> None:
        """Add one file."""
        if not given.problem and describes_shard(given.path):
            self.loose.passed_over[kind_of(given.path)] += 1
        elif is_shard(given.path) and not given.problem:
            self.shards.append(InputShard(given.path))
        else:
            self.loose.add_file(given)

    def _sorted_out(self, names: list[str], path_of: Callable[[str], str]) -> tuple[list[str], list[str]]:
        """Return the shards among the files of a folder, and the files that are loose; count those of vistok."""
        shards, own = shards_among(names, path_of)
        self.loose.passed_over.update({TOKEN_SHARD: len(own)} if own else {})
        taken = shards | own
        return [name for name in names if name in shards], [
            name for name in names if name not in taken
        ] if taken else names


def find_inputs(inputs: Iterable[str], keep: Keep, out: str | None) -> FoundInputs:
    """Find what users name, the folder `out` left out; raise ValueError for what does not exist, OSError when a store fails."""
    found = FoundInputs(LooseImages(keep))
    for is_remote, given in groupby(expand_inputs(inputs, ALLOWED_ANYWHERE), lambda each: bool(protocol_of(each.path))):
        if is_remote:
            _add_remote(list(given), found, out)
            continue
        for each in given:
            if each.is_folder:
                found.add_folder(each.path, out)
            else:
                found.add_file(each)
    return found


def _add_remote(given: list[Input], inputs: FoundInputs, out: str | None) -> None:
    for each, found in zip(given, find_remote(each.path for each in given), strict=True):
        if isinstance(found, RemoteFolder):
            inputs.add_remote_folder(found, out)
        elif found.problem and not each.place:
            raise ValueError(f"{printable(each.path)} {found.problem}: {ALLOWED_ANYWHERE}.")
        else:
            inputs.add_object(found._replace(problem=f"{found.problem} ({each.place})") if found.problem else found)
