"""Which files of an output folder vistok wrote: those it may remove or replace, and those it must not touch."""

import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from pathlib import PurePath

from .formats import SHARD_FORMATS, ShardFormat, format_of, shard_files
from .sidecar import MANIFEST_FILE, all_sidecars, sidecar_name
from .store import Store

OWN_KEYS = frozenset({"fingerprint", "schema_version", "shard"})
"""Keys of manifests and sidecars, of any version; JSON files of other programs have other keys, such as `images`."""


def orphans(store: Store) -> list[str]:
    """Return the token shards without a sidecar that fits, which a killed command may leave behind."""
    sizes = store.sizes()
    return _orphans(store, sizes, _whole(store, sizes))


def removable_files(store: Store) -> list[str]:
    """Return the files of shards that `remove_shards` removes, the one that says whose they are after the others."""
    sizes = store.sizes()
    whole = _whole(store, sizes)
    own = [*sorted(whole), *_orphans(store, sizes, whole)]
    return [name for shard in own if (entry := format_of(shard)) for name in shard_files(shard, entry) if name in sizes]


def remove_shards(store: Store) -> None:
    """Remove all that tokenize-images wrote: manifest, sidecars, shards, and what a kill left."""
    store.remove(MANIFEST_FILE)
    files = removable_files(store)
    for sidecar in all_sidecars(store, store.sizes()):
        store.remove(sidecar_name(sidecar.shard))
    for name in files:
        store.remove(name)
    store.remove_asides()


def refuse_replacing(store: Store, shards: Iterable[str], shard_format: ShardFormat) -> None:
    """Raise ValueError when a file of others would be replaced; one damaged beyond recognition may be vistok's own."""
    sizes, others = store.sizes(), store.others()
    whole = _whole(store, sizes)
    refuse_other(store, MANIFEST_FILE, MANIFEST_FILE in others or _is_other_json(store, MANIFEST_FILE, sizes))
    for shard in shards:
        if shard not in whole:
            names, sidecar = shard_files(shard, shard_format), sidecar_name(shard)
            is_other = any(name in sizes for name in names) and _is_own(store, names, sizes, shard_format) is False
            for name in names:
                refuse_other(store, name, name in others or (is_other and name in sizes))
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


def _orphans(store: Store, names: Collection[str], whole: Collection[str]) -> list[str]:
    found: set[str] = set()
    for entry in SHARD_FORMATS.values():
        shards = {
            str(PurePath(name).with_suffix(entry.suffixes[0]))
            for name in names
            if PurePath(name).suffix in entry.suffixes
        }
        found.update(
            shard for shard in shards.difference(whole) if _is_own(store, shard_files(shard, entry), names, entry)
        )
    return sorted(found)


def _is_own(store: Store, files: list[str], there: Collection[str], shard_format: ShardFormat) -> bool | None:
    try:
        with ExitStack() as stack:
            return shard_format.is_own(
                [stack.enter_context(store.open(name)) if name in there else None for name in files]
            )
    except OSError:
        return None


def _is_other_json(store: Store, name: str, names: Collection[str]) -> bool:
    try:
        content = json.loads(store.read(name)) if name in names else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, list | dict) and bool(content) and OWN_KEYS.isdisjoint(map(str, content))
