"""Token shards on disk, compared with their sidecars before anything is made of them."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ...images.finding.index import DamagedShard, problem_of
from ..inputs.input_files import file_sha256
from ..token_shards.formats import SHARD_FORMATS, ShardFormat, read_samples
from ..token_shards.manifest import Manifest, read_manifest
from ..token_shards.ownership import orphans
from ..token_shards.sidecar import MANIFEST_FILE, Sidecar, all_sidecars, read_sidecar
from ..token_shards.token_samples import StoredSample


class ShardFile(NamedTuple):
    """A token shard that was found, and its sidecar."""

    path: Path
    sidecar: Sidecar | None


class StoredShard(NamedTuple):
    """A token shard that is whole."""

    path: Path
    samples: list[StoredSample]


class Found(NamedTuple):
    """The token shards of the folders and files that were given."""

    files: list[ShardFile]
    missing: list[str]
    """Sentences about what should be there and is not."""


def find_shards(inputs: Iterable[Path]) -> Found:
    """Find token shards, without reading them; raise ValueError when an input is missing or a folder holds none."""
    files: dict[Path, ShardFile] = {}
    missing: list[str] = []
    for path in inputs:
        if path.is_dir():
            found = _in_folder(path)
            if not found.files and not found.missing:
                raise ValueError(f"{path} holds no token shards: give a folder that tokenize-images wrote.")
        elif path.is_file():
            found = Found([ShardFile(path, read_sidecar(path))], [])
        else:
            raise ValueError(
                f"{path} {problem_of(str(path))}: give token shards, or folders that tokenize-images wrote."
            )
        for file in found.files:
            files.setdefault(file.path.resolve(), file)
        missing += found.missing
    return Found(list(files.values()), list(dict.fromkeys(missing)))


def read_shard(file: ShardFile, shard_format: ShardFormat) -> StoredShard:
    """Compare a shard with its sidecar and list its samples; raise DamagedShard, with a sentence, when it is not whole."""
    path, sidecar = file
    try:
        if sidecar is not None and file_sha256(path) != sidecar.sha256:
            raise DamagedShard(f"{path} does not match its sidecar (SHA-256): remove it and tokenize it again.")
        return StoredShard(path, _samples(path, shard_format))
    except OSError as error:
        raise DamagedShard(f"{path} cannot be read ({error.strerror}): tokenize it again.") from None


def _samples(path: Path, shard_format: ShardFormat) -> list[StoredSample]:
    try:
        return read_samples(path, shard_format)
    except DamagedShard as error:
        reason = str(error).rstrip(".")
        raise DamagedShard(f"{path} is not a whole token shard ({reason}): remove it and tokenize it again.") from None


def manifest_of(folder: Path) -> Manifest:
    """Return the manifest of a folder; raise ValueError when it has none."""
    manifest = _manifest(folder)
    if manifest is None:
        raise ValueError(f"{folder} has no {MANIFEST_FILE}, which names the tokenizer of its shards: put it back.")
    return manifest


def _manifest(folder: Path) -> Manifest | None:
    manifest = read_manifest(folder, "put the right one back")
    if manifest is not None and manifest.format not in SHARD_FORMATS:
        raise ValueError(
            f"{folder / MANIFEST_FILE} names the shard format {manifest.format!r}, but only {' and '.join(SHARD_FORMATS)} "
            "can be read: put the right one back, or add the format to SHARD_FORMATS."
        )
    return manifest


def _in_folder(folder: Path) -> Found:
    manifest, described = _manifest(folder), all_sidecars(folder)
    names = {sidecar.shard for sidecar in described}
    missing = [
        f"{path} has no sidecar, so it may not be whole: tokenize it again."
        for path in orphans(folder)
        if path.name not in names
    ]
    if manifest is not None and manifest.shards > len(described):
        missing.append(
            f"{folder / MANIFEST_FILE} counts {manifest.shards} shards, but {len(described)} have a sidecar: tokenize again."
        )
    return Found([ShardFile(folder / sidecar.shard, sidecar) for sidecar in described], missing)
