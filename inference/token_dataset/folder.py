"""The folder of a dataset: its manifest and its whole shards, and what is wrong with the others."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from ...images.file_entry import problem_of
from ..token_shards.formats import SHARD_FORMATS, ShardFormat, format_of
from ..token_shards.manifest import NOT_ENDED, Manifest, manifest_of
from ..token_shards.ownership import orphans
from ..token_shards.sidecar import MANIFEST_FILE, Sidecar, all_sidecars
from ..token_shards.store import LocalStore, Store, open_store


class Shard(NamedTuple):
    """A whole token shard."""

    name: str
    rows: int


class TokenFolder(NamedTuple):
    """A folder of token shards; picklable."""

    store: Store
    manifest: Manifest
    shards: tuple[Shard, ...]
    """In the order of their names."""
    left_out: tuple[str, ...]
    """What was left out, a phrase each, because the caller allowed it."""

    @property
    def shard_format(self) -> ShardFormat:
        """The format of all shards."""
        return SHARD_FORMATS[self.manifest.format]

    def digest(self) -> str:
        """Return the SHA-256 of what decides the order of rows: the tokenizer, and the names and rows of the shards."""
        return hashlib.sha256(repr((self.manifest.fingerprint, self.shards)).encode()).hexdigest()


def open_folder(path: str, skip_incomplete: bool = False) -> TokenFolder:
    """Open a folder of token shards by its path or URL.

    Raises ValueError when it is none, holds no shard, or is not whole; with `skip_incomplete` the whole shards are taken and
    the others left out. The content of shards is not checked here. Raises OSError when a store does not answer.
    """
    store = open_store(path)
    if isinstance(store, LocalStore) and not store.folder.is_dir():
        what = problem_of(str(store)) or "is a file"
        raise ValueError(f"{store} {what}: give a folder that tokenize-images wrote.")
    manifest = manifest_of(store)
    if manifest is None:
        raise ValueError(f"{store} has no {MANIFEST_FILE}: give a folder that tokenize-images wrote.")
    sizes = store.sizes()
    shards, problems = [], []
    described = set()
    for sidecar in all_sidecars(store, sizes):
        described.add(sidecar.shard)
        problem = _problem(sidecar, manifest, sizes)
        if problem:
            problems.append(f"{sidecar.shard} {problem}")
        else:
            shards.append(Shard(sidecar.shard, sidecar.rows))
    problems += [f"{name} has no sidecar" for name in orphans(store) if name not in described]
    if not problems and manifest.shards != len(shards):
        problems.append(f"{MANIFEST_FILE} counts {manifest.shards} shards, but {len(shards)} are there")
    if not problems and not manifest.has_ended:
        problems.append(f"{MANIFEST_FILE} {NOT_ENDED}")
    if problems and not skip_incomplete:
        others = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise ValueError(
            f"{store} is not whole: {problems[0]}{others}. Run its tokenize-images command to the end, or take what is "
            "whole with skip_incomplete=True; verify-tokens lists all problems."
        )
    if not shards:
        raise ValueError(f"{store} holds no whole token shard: run its tokenize-images command first.")
    return TokenFolder(store, manifest, tuple(shards), tuple(problems))


def _problem(sidecar: Sidecar, manifest: Manifest, sizes: Mapping[str, int]) -> str:
    """Return a phrase that says why a shard is not taken, "" for a whole one."""
    if format_of(sidecar.shard) is not SHARD_FORMATS[manifest.format]:
        return f"is not of the format {manifest.format}, which {MANIFEST_FILE} names"
    if sidecar.fingerprint != manifest.fingerprint:
        return f"holds tokens of another tokenizer than {manifest.model} ({sidecar.fingerprint[:12]})"
    for file in sidecar.files:
        if file.name not in sizes:
            return f"is not there with all its files: {file.name} is missing"
        if sizes[file.name] != file.size:
            return f"is cut or was changed: {file.name} has {sizes[file.name]:,} bytes, not {file.size:,}"
    return ""
