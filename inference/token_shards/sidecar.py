"""Token shards on disk: for each shard NAME.tar with its sidecar NAME.json, written last.

A shard is done if and only if its sidecar is there and its fingerprint and inputs agree. Its bytes depend on the images and
the tokenizer alone.
"""

import os
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from ...tokenizer.config import Config
from ...tokenizer.files import remove_asides, write_whole
from ..inputs.samples import Failure
from .webdataset_format import WrittenTar, is_token_tar

SCHEMA_VERSION: Literal[2] = 2
MANIFEST_FILE = "manifest.json"


class Sidecar(Config):
    """What one shard holds."""

    schema_version: Literal[2] = SCHEMA_VERSION
    """Version of this layout."""
    shard: str
    """File name of the shard."""
    fingerprint: str
    """Fingerprint of the tokenizer that made it."""
    inputs: str
    """SHA-256 of the names, sizes and times of change of the files that went in."""
    content: str
    """SHA-256 of the names of what went in, and of their bytes."""
    images: int
    """Images in the shard."""
    failures: list[Failure]
    """Images that could not be used."""
    passed_over: dict[str, int]
    """Members of the input shard that are neither images nor carried over, by kind."""
    sha256: str
    """SHA-256 of the shard's bytes."""
    size: int
    """Bytes of the shard."""

    @property
    def name(self) -> str:
        """The shard's name without its ending."""
        return self.shard.removesuffix(".tar")


def to_json(config: Config) -> bytes:
    """Return the text of a manifest or sidecar."""
    return (config.model_dump_json(indent=2) + "\n").encode()


def seal_shard(folder: Path, sidecar: Sidecar, written: WrittenTar) -> None:
    """Put a shard that was written aside into its place, and then its sidecar; raise OSError when the disk refuses."""
    (folder / f"{sidecar.name}.json").unlink(missing_ok=True)  # that of an earlier call would not fit
    written.aside.replace(folder / sidecar.shard)
    write_sidecar(folder, sidecar)


def write_sidecar(folder: Path, sidecar: Sidecar) -> None:
    """Write a sidecar; raise OSError when the disk refuses."""
    write_whole(folder / f"{sidecar.name}.json", to_json(sidecar))


def read_sidecar(folder: Path, name: str) -> Sidecar | None:
    """Return the sidecar of a shard, or None when it, or the whole shard it describes, is not there.

    A sidecar that names a file other than NAME.tar beside it is none.
    """
    sidecar = _parsed(folder / f"{name}.json")
    if sidecar is None or _size(folder / sidecar.shard) != sidecar.size:
        return None
    return sidecar


def sidecar_of(shard: Path) -> Sidecar | None:
    """Return the sidecar that lies beside a shard, whatever became of the shard."""
    return _parsed(shard.with_name(f"{shard.name.removesuffix('.tar')}.json"))


def sidecars(folder: Path) -> list[Sidecar]:
    """Return the sidecars of all shards of a folder that are whole, by name."""
    return [sidecar for sidecar in all_sidecars(folder) if _size(folder / sidecar.shard) == sidecar.size]


def all_sidecars(folder: Path) -> list[Sidecar]:
    """Return all sidecars of a folder by name, whatever became of their shards."""
    found = (_parsed(path) for path in sorted(folder.glob("*.json")) if path.name != MANIFEST_FILE)
    return [sidecar for sidecar in found if sidecar is not None]


def orphans(folder: Path) -> list[Path]:
    """Return the token shards without a sidecar that fits, which a command that was killed may leave behind."""
    whole = {sidecar.shard for sidecar in sidecars(folder)}
    return [
        path
        for path in sorted(folder.glob("*.tar"))
        if path.name not in whole and path.is_file() and is_token_tar(path)
    ]


def removable_shards(folder: Path) -> list[Path]:
    """Return the shards that `remove_shards` removes."""
    return [*(folder / sidecar.shard for sidecar in sidecars(folder)), *orphans(folder)]


def remove_shards(folder: Path) -> None:
    """Remove whatever tokenize-images wrote: manifest, sidecars, shards, and what a kill left; nothing else is touched."""
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    alone = orphans(folder)
    for sidecar in all_sidecars(folder):
        shard = folder / sidecar.shard
        shard.with_suffix(".json").unlink()
        if _size(shard) == sidecar.size:
            shard.unlink()
    for path in alone:
        path.unlink(missing_ok=True)
    remove_asides(folder)


def _parsed(path: Path) -> Sidecar | None:
    if not path.is_file():
        return None
    try:
        sidecar = Sidecar.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return sidecar if sidecar.shard == f"{path.stem}.tar" else None


def _size(path: Path) -> int:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return -1
