"""Which files of an output folder vistok wrote: those it may remove or replace, and those it must not touch."""

import json
from collections.abc import Iterable
from pathlib import Path

from ...tokenizer.files import remove_asides
from .formats import ShardFormat, format_of
from .sidecar import MANIFEST_FILE, all_sidecars, sidecar_path, sidecars, whole_sidecar

OWN_KEYS = frozenset({"fingerprint", "schema_version", "shard"})
"""Keys of manifests and sidecars, of any version; JSON files of other programs have other keys, such as `images`."""


def orphans(folder: Path) -> list[Path]:
    """Return the token shards without a sidecar that fits, which a killed command may leave behind."""
    whole = {sidecar.shard for sidecar in sidecars(folder)}
    candidates = sorted(path for path in folder.iterdir() if path.name not in whole) if folder.is_dir() else []
    return [path for path in candidates if (entry := format_of(path)) and path.is_file() and entry.is_own(path)]


def removable_shards(folder: Path) -> list[Path]:
    """Return the shards that `remove_shards` removes."""
    return [*(folder / sidecar.shard for sidecar in sidecars(folder)), *orphans(folder)]


def remove_shards(folder: Path) -> None:
    """Remove all that tokenize-images wrote: manifest, sidecars, shards, and what a kill left."""
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    shards = removable_shards(folder)
    for sidecar in all_sidecars(folder):
        sidecar_path(folder / sidecar.shard).unlink()
    for shard in shards:
        shard.unlink(missing_ok=True)
    remove_asides(folder)


def refuse_replacing(folder: Path, shards: Iterable[Path], shard_format: ShardFormat) -> None:
    """Raise ValueError when a file of others would be replaced; one damaged beyond recognition may be vistok's own."""
    refuse_other(folder / MANIFEST_FILE, _is_other_json(folder / MANIFEST_FILE))
    for shard in shards:
        if whole_sidecar(shard) is None:
            refuse_other(shard, shard.is_file() and shard_format.is_own(shard) is False)
            refuse_other(sidecar_path(shard), _is_other_json(sidecar_path(shard)))


def refuse_other(path: Path, is_other: bool) -> None:
    """Raise ValueError when a file to write is one that vistok did not write, or no file."""
    if is_other or (path.exists() and not path.is_file()):
        raise ValueError(
            f"{path} was not written by vistok and would be replaced: move it away, or give another --out folder."
        )


def _is_other_json(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes()) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, list | dict) and bool(content) and OWN_KEYS.isdisjoint(map(str, content))
