"""Which files of an output folder vistok wrote: those it may remove or replace, and those it must not touch."""

import json
from collections.abc import Collection, Iterable, Mapping

from .formats import ShardFormat, format_of
from .sidecar import MANIFEST_FILE, all_sidecars, sidecar_name
from .store import Store

OWN_KEYS = frozenset({"fingerprint", "schema_version", "shard"})
"""Keys of manifests and sidecars, of any version; JSON files of other programs have other keys, such as `images`."""


def orphans(store: Store) -> list[str]:
    """Return the token shards without a sidecar that fits, which a killed command may leave behind."""
    sizes = store.sizes()
    return _orphans(store, sizes, _whole(store, sizes))


def removable_shards(store: Store) -> list[str]:
    """Return the shards that `remove_shards` removes."""
    sizes = store.sizes()
    whole = _whole(store, sizes)
    return [*sorted(whole), *_orphans(store, sizes, whole)]


def remove_shards(store: Store) -> None:
    """Remove all that tokenize-images wrote: manifest, sidecars, shards, and what a kill left."""
    store.remove(MANIFEST_FILE)
    shards = removable_shards(store)
    for sidecar in all_sidecars(store, store.sizes()):
        store.remove(sidecar_name(sidecar.shard))
    for shard in shards:
        store.remove(shard)
    store.remove_asides()


def refuse_replacing(store: Store, shards: Iterable[str], shard_format: ShardFormat) -> None:
    """Raise ValueError when a file of others would be replaced; one damaged beyond recognition may be vistok's own."""
    sizes, others = store.sizes(), store.others()
    whole = _whole(store, sizes)
    refuse_other(store, MANIFEST_FILE, MANIFEST_FILE in others or _is_other_json(store, MANIFEST_FILE, sizes))
    for shard in shards:
        sidecar = sidecar_name(shard)
        if shard not in whole:
            is_other = shard in sizes and _is_own(store, shard, shard_format) is False
            refuse_other(store, shard, shard in others or is_other)
            refuse_other(store, sidecar, sidecar in others or _is_other_json(store, sidecar, sizes))


def refuse_other(store: Store, name: str, is_other: bool) -> None:
    """Raise ValueError when a file to write is one that vistok did not write, or no file."""
    if is_other:
        raise ValueError(
            f"{store.path_of(name)} was not written by vistok and would be replaced: move it away, or give another --out "
            "folder."
        )


def _whole(store: Store, sizes: Mapping[str, int]) -> set[str]:
    return {sidecar.shard for sidecar in all_sidecars(store, sizes) if sidecar.is_whole(sizes)}


def _orphans(store: Store, names: Iterable[str], whole: Collection[str]) -> list[str]:
    candidates = sorted(name for name in names if name not in whole)
    return [name for name in candidates if (entry := format_of(name)) and _is_own(store, name, entry)]


def _is_own(store: Store, shard: str, shard_format: ShardFormat) -> bool | None:
    try:
        with store.open(shard) as file:
            return shard_format.is_own(file)
    except OSError:
        return None


def _is_other_json(store: Store, name: str, names: Collection[str]) -> bool:
    try:
        content = json.loads(store.read(name)) if name in names else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, list | dict) and bool(content) and OWN_KEYS.isdisjoint(map(str, content))
