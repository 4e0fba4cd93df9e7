"""The sidecar of a token shard: NAME.json, written last and the same for all formats."""

import os
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from ...tokenizer.config import Config
from ...tokenizer.files import write_whole
from ..inputs.samples import Failure
from .formats import format_of

MANIFEST_FILE = "manifest.json"


class Sidecar(Config):
    """The description of one shard."""

    schema_version: Literal[3] = 3
    shard: str
    fingerprint: str
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
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """The shard's name without its suffix."""
        return Path(self.shard).stem

    def is_whole(self, folder: Path) -> bool:
        """Return whether the shard is in the folder, with as many bytes as the sidecar says."""
        try:
            return os.lstat(folder / self.shard).st_size == self.size
        except FileNotFoundError:
            return False


def to_json(config: Config) -> bytes:
    """Return the text of a manifest or sidecar."""
    return (config.model_dump_json(indent=2) + "\n").encode()


def sidecar_path(shard: Path) -> Path:
    """Return where the sidecar of a shard lies."""
    return shard.with_suffix(".json")


def write_sidecar(folder: Path, sidecar: Sidecar) -> None:
    """Write a sidecar; raise OSError when the disk refuses."""
    write_whole(sidecar_path(folder / sidecar.shard), to_json(sidecar))


def read_sidecar(shard: Path) -> Sidecar | None:
    """Return the sidecar of a shard, or None when it is missing, damaged or describes another file."""
    sidecar = _parsed(sidecar_path(shard))
    return sidecar if sidecar is not None and sidecar.shard == shard.name else None


def whole_sidecar(shard: Path) -> Sidecar | None:
    """Return the sidecar of a shard that is there with all its bytes, else None."""
    sidecar = read_sidecar(shard)
    return sidecar if sidecar is not None and sidecar.is_whole(shard.parent) else None


def sidecars(folder: Path) -> list[Sidecar]:
    """Return the sidecars of all whole shards of a folder, by name."""
    return [sidecar for sidecar in all_sidecars(folder) if sidecar.is_whole(folder)]


def all_sidecars(folder: Path) -> list[Sidecar]:
    """Return all sidecars of a folder by name, even without their shards; ignore one that describes a file of another name."""
    found = []
    for path in sorted(folder.glob("*.json")):
        sidecar = _parsed(path) if path.name != MANIFEST_FILE else None
        if sidecar is not None and sidecar.shard == Path(sidecar.shard).name and sidecar.name == path.stem:
            found += [sidecar] if format_of(Path(sidecar.shard)) else []
    return found


def _parsed(path: Path) -> Sidecar | None:
    if not path.is_file():
        return None
    try:
        return Sidecar.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
