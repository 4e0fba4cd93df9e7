"""The sidecar of a token shard: NAME.json, written last and the same for all formats."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePath
from typing import Literal

from pydantic import ValidationError

from ...tokenizer.config import Config
from ..inputs.plan import SIDECAR_SUFFIX
from ..inputs.samples import Failure
from ..inputs.views import Views
from .formats import format_of, shard_files
from .shard_file import ShardFile, are_whole
from .store import Store, write_file

MANIFEST_FILE = "manifest.json"
READ_TOGETHER = 10_000
"""Sidecars; for each such number a remote folder is listed again."""


class Sidecar(Config):
    """The description of one shard."""

    schema_version: Literal[4] = 4
    shard: str
    fingerprint: str
    precision: str
    keep: str
    views: Views
    """These three as in the manifest, so that a folder that has lost it takes no shard of other settings for its own."""
    inputs: str
    """SHA-256 of the names, sizes and modification times of the input files."""
    content: str
    """SHA-256 of the names of the input files and of their bytes."""
    images: int
    rows: int
    """Samples in the shard: several for an image with views."""
    failures: list[Failure]
    passed_over: dict[str, int]
    """Members of the input shard that are neither images nor carried over, by kind."""
    files: list[ShardFile]
    """All files of the shard, in the order of the suffixes of its format."""

    @property
    def name(self) -> str:
        """The shard's name without its suffix."""
        return PurePath(self.shard).stem

    def is_whole(self, sizes: Mapping[str, int]) -> bool:
        """Return whether all files are among those of a folder, given by their bytes, with as many as the sidecar says."""
        return are_whole(self.files, sizes)

    def is_sound(self, name: str) -> bool:
        """Return whether it describes a shard of a known format beside it, when its own file has a name."""
        shard_format = format_of(self.shard)
        is_beside = self.shard == PurePath(self.shard).name and sidecar_name(self.shard) == name
        return is_beside and shard_format is not None and self._names() == shard_files(self.shard, shard_format)

    def _names(self) -> list[str]:
        return [file.name for file in self.files]


def to_json(config: Config) -> bytes:
    """Return the text of a manifest or sidecar."""
    return (config.model_dump_json(indent=2) + "\n").encode()


def sidecar_name(shard: str) -> str:
    """Return the name of the sidecar of a shard."""
    return str(PurePath(shard).with_suffix(SIDECAR_SUFFIX))


def write_sidecar(store: Store, sidecar: Sidecar) -> None:
    """Write the sidecar of a shard that is there; raise OSError when the disk refuses."""
    write_file(store, sidecar_name(sidecar.shard), to_json(sidecar))


def whole_sidecar(store: Store, shard: str) -> Sidecar | None:
    """Return the sidecar of a shard that is there with all its bytes, else None."""
    sidecar = read_sidecar(store, shard)
    sizes = {file.name: store.size(file.name) for file in sidecar.files} if sidecar else {}
    there = {name: size for name, size in sizes.items() if size is not None}
    return sidecar if sidecar is not None and sidecar.is_whole(there) else None


def read_sidecar(store: Store, shard: str) -> Sidecar | None:
    """Return the sidecar of a shard, or None when it is missing, damaged or describes another file."""
    name = sidecar_name(shard)
    try:
        sidecar = _parsed(store.read(name)) if store.size(name) is not None else None
    except FileNotFoundError:
        return None
    return sidecar if sidecar is not None and sidecar.shard == shard and sidecar.is_sound(name) else None


def sidecars(store: Store) -> Iterator[Sidecar]:
    """Yield the sidecars of all whole shards of a folder, by name."""
    sizes = store.sizes()
    return (sidecar for sidecar in all_sidecars(store, sizes) if sidecar.is_whole(sizes))


def all_sidecars(store: Store, names: Collection[str]) -> Iterator[Sidecar]:
    """Yield all sidecars by name, even without their shards; ignore one that describes a file of another name.

    `names` are those of all files of the folder. Those of a large collection together may hold more failures than fit into
    memory.
    """
    candidates = sorted(name for name in names if name.endswith(SIDECAR_SUFFIX) and name != MANIFEST_FILE)
    for start in range(0, len(candidates), READ_TOGETHER):
        for name, content in store.read_many(candidates[start : start + READ_TOGETHER]).items():
            sidecar = _parsed(content)
            if sidecar is not None and sidecar.is_sound(name):
                yield sidecar


def _parsed(content: bytes) -> Sidecar | None:
    try:
        return Sidecar.model_validate_json(content)
    except ValidationError:
        return None
