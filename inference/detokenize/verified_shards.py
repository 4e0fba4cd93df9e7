"""Token shards on disk, compared with their sidecars before anything is made of them."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ...images.file_entry import problem_of
from ...images.tars.blocks import DamagedShard
from ...tokenizer.remote_files import local_path, protocol_of
from ..token_shards.formats import ShardFormat, open_samples, shard_of
from ..token_shards.manifest import manifest_of
from ..token_shards.ownership import orphans
from ..token_shards.shard_file import file_that_differs
from ..token_shards.sidecar import MANIFEST_FILE, Sidecar, all_sidecars, read_sidecar
from ..token_shards.store import LocalStore, Store, open_store


class TokenShard(NamedTuple):
    """A token shard, by its name in a folder."""

    store: Store
    name: str

    def __str__(self) -> str:
        return self.store.path_of(self.name)


def find_shards(inputs: Iterable[str]) -> tuple[dict[TokenShard, Sidecar | None], list[str]]:
    """Find token shards and their sidecars, and say which are missing; raise ValueError for an input that holds none."""
    shards: dict[str, tuple[TokenShard, Sidecar | None]] = {}  # by the real path, so that each comes once
    missing: list[str] = []
    for path in inputs:
        folder, shard = _folder_and_shard(path)
        if shard:
            found = {TokenShard(folder, shard): read_sidecar(folder, shard)}
        else:
            found, sentences = _in_folder(folder)
            if not found and not sentences:
                raise ValueError(f"{folder} holds no token shards: give a folder that tokenize-images wrote.")
            missing += sentences
        for file, sidecar in found.items():
            real = os.path.realpath(str(file)) if isinstance(file.store, LocalStore) else str(file)
            shards.setdefault(real, (file, sidecar))
    return dict(shards.values()), list(dict.fromkeys(missing))


def verified_keys(shard: TokenShard, sidecar: Sidecar | None, shard_format: ShardFormat) -> list[str]:
    """Compare a shard with its sidecar and list its keys; raise DamagedShard, with a sentence, when it is not whole."""
    try:
        differing = file_that_differs(shard.store, sidecar.files) if sidecar else None
        if differing is None:
            with open_samples(*shard, shard_format) as samples:
                return [sample.key for sample in samples]
    except OSError as error:
        what = error.filename or shard
        raise DamagedShard(f"{what} cannot be read ({error.strerror}): tokenize it again.") from None
    except DamagedShard as error:
        reason = str(error).rstrip(".")
        raise DamagedShard(f"{shard} is not a whole token shard ({reason}): remove it and tokenize it again.") from None
    differing = shard.store.path_of(differing)
    raise DamagedShard(f"{differing} does not match its sidecar (SHA-256): remove it and tokenize it again.")


def _folder_and_shard(path: str) -> tuple[Store, str]:
    """Return the folder of an input, and the name of the shard in it, "" for all."""
    if protocol_of(path):
        folder, _, name = path.rstrip("/").rpartition("/")
        shard = shard_of(name)
        return (open_store(folder), shard) if shard else (open_store(path), "")
    local = Path(local_path(path))
    if not local.is_dir() and not local.is_file():
        raise ValueError(f"{path} {problem_of(path)}: give token shards, or folders that tokenize-images wrote.")
    return (LocalStore(local), "") if local.is_dir() else (LocalStore(local.parent), shard_of(local.name) or local.name)


def _in_folder(store: Store) -> tuple[dict[TokenShard, Sidecar | None], list[str]]:
    manifest = manifest_of(store)
    found = all_sidecars(store, store.sizes())
    shards: dict[TokenShard, Sidecar | None] = {TokenShard(store, sidecar.shard): sidecar for sidecar in found}
    missing = [
        f"{store.path_of(name)} has no sidecar, so it may not be whole: tokenize it again."
        for name in orphans(store)
        if TokenShard(store, name) not in shards
    ]
    if manifest is not None and manifest.shards > len(shards):
        missing.append(
            f"{store.path_of(MANIFEST_FILE)} counts {manifest.shards} shards, but {len(shards)} have a sidecar: tokenize "
            "again."
        )
    return shards, missing
