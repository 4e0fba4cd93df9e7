"""Token shards as they lie on a disk, compared with what their sidecars say before anything is made of them."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..images.index import problem_of
from .done import file_sha256
from .manifest import Manifest, read_manifest
from .shards import MANIFEST_FILE, Sidecar, all_sidecars, orphans, sidecar_of
from .token_tar import StoredSample, stored_samples


class StoredShard(NamedTuple):
    """A token shard that is whole."""

    path: Path
    samples: list[StoredSample]


class Found(NamedTuple):
    """What is in the folders and files that were given."""

    shards: list[StoredShard]
    damaged: list[str]
    """Sentences about those that are not whole."""


def find_shards(inputs: Iterable[Path]) -> Found:
    """Find token shards and list their samples; raise ValueError when an input is missing or a folder holds none."""
    shards: list[StoredShard] = []
    damaged: list[str] = []
    known: set[Path] = set()
    for path in inputs:
        if path.is_dir():
            found = _in_folder(path)
            if not found.shards and not found.damaged:
                raise ValueError(f"{path} holds no token shards: give a folder that tokenize-images wrote.")
        elif path.is_file():
            found = _whole(path, sidecar_of(path))
        else:
            raise ValueError(
                f"{path} {problem_of(str(path))}: give token shards, or folders that tokenize-images wrote."
            )
        shards += [shard for shard in found.shards if shard.path.resolve() not in known]
        known.update(shard.path.resolve() for shard in found.shards)
        damaged += found.damaged
    return Found(shards, list(dict.fromkeys(damaged)))


def manifest_of(folder: Path) -> Manifest:
    """Return the manifest of a folder; raise ValueError when it has none."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise ValueError(f"{folder} has no {MANIFEST_FILE}, which says what tokenizer made its shards: put it back.")
    return manifest


def _in_folder(folder: Path) -> Found:
    described = all_sidecars(folder)
    parts = [_whole(folder / sidecar.shard, sidecar) for sidecar in described]
    shards = [shard for part in parts for shard in part.shards]
    damaged = [sentence for part in parts for sentence in part.damaged]
    names = {sidecar.shard for sidecar in described}
    damaged += [
        f"{path} has no sidecar, so that it may not be whole: tokenize it again."
        for path in orphans(folder)
        if path.name not in names
    ]
    manifest = read_manifest(folder)
    if manifest is not None and manifest.shards > len(described):
        damaged.append(
            f"{folder / MANIFEST_FILE} counts {manifest.shards} shards, but {len(described)} have a sidecar: tokenize again."
        )
    return Found(shards, damaged)


def _whole(path: Path, sidecar: Sidecar | None) -> Found:
    """Return a shard with its samples, or say why it is damaged."""
    try:
        if sidecar is not None and file_sha256(path) != sidecar.sha256:
            return Found([], [f"{path} is not as its sidecar says (SHA-256): remove it and tokenize it again."])
        return Found([StoredShard(path, list(stored_samples(path)))], [])
    except OSError as error:
        return Found([], [f"{path} cannot be read ({error.strerror}): tokenize it again."])
    except ValueError as error:
        return Found(
            [], [f"{path} is not a whole token shard ({str(error).rstrip('.')}): remove it and tokenize it again."]
        )
