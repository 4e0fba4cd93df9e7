"""Which files of an output folder vistok wrote: those it may remove or replace, and those it must not touch."""

import json
import re
from collections.abc import Collection, Iterable
from contextlib import ExitStack
from pathlib import PurePath

from ..inputs.loose_images import LOOSE_PATTERN
from .formats import SHARD_FORMATS, ShardFormat, format_of, shard_files
from .sidecar import MANIFEST_FILE, all_sidecars, sidecar_name
from .store import Store

OWN_KEYS = frozenset({"fingerprint", "schema_version", "shard"})
"""Keys of manifests and sidecars, of any version; JSON files of other programs have other keys, such as `images`."""


class OutputFiles:
    """The files of an output folder as they are now, and which of them vistok wrote."""

    def __init__(self, store: Store):
        self.sizes = store.sizes()
        self._store = store
        self.whole: set[str] = set()
        """Shards with all files that their sidecar describes."""
        self._described: dict[str, dict[str, int]] = {}
        for sidecar in all_sidecars(store, self.sizes):
            self._described[sidecar.shard] = {file.name: file.size for file in sidecar.files}
            if sidecar.is_whole(self.sizes):
                self.whole.add(sidecar.shard)

    def is_own(self, shard: str, shard_format: ShardFormat) -> bool | None:
        """Return whether vistok wrote what is there of a shard; None when that is nothing, or damaged beyond recognition."""
        names = shard_files(shard, shard_format)
        there = [name for name in names if name in self.sizes]
        described = self._described.get(shard, {})
        if there and all(self.sizes[name] == described.get(name) for name in there):
            return True
        try:
            with ExitStack() as stack:
                files = [stack.enter_context(self._store.open(name)) if name in there else None for name in names]
                return shard_format.is_own(files) if there else None
        except OSError:
            return None

    def removable(self, planned: Collection[str]) -> list[str]:
        """Return the shards that `remove_shards` removes: those with a sidecar, and those that a killed command left.

        Whoever takes rows out of a shard leaves vistok's mark on what he makes of them, so a file without a sidecar also
        has a name that vistok gives: that of loose images, or one of `planned`, the names of shards without a suffix.
        """
        named = {PurePath(shard).stem for shard in self._described} | set(planned)
        left = [(shard, PurePath(shard).stem) for shard in self.orphans()]
        return [
            *sorted(self.whole),
            *(shard for shard, name in left if name in named or re.fullmatch(LOOSE_PATTERN, name)),
        ]

    def orphans(self) -> list[str]:
        """Return the shards that vistok wrote and that have no sidecar that fits."""
        found: set[str] = set()
        for entry in SHARD_FORMATS.values():
            paths = [path for path in map(PurePath, self.sizes) if path.suffix in entry.suffixes]
            shards = {str(path.with_suffix(entry.suffixes[0])) for path in paths} - self.whole
            found.update(shard for shard in shards if self.is_own(shard, entry))
        return sorted(found)


def orphans(store: Store) -> list[str]:
    """Return the token shards without a sidecar that fits, which a killed command may leave behind."""
    return OutputFiles(store).orphans()


def removable_files(store: Store, planned: Collection[str]) -> list[str]:
    """Return the files of shards that `remove_shards` removes, the one that says whose they are after the others."""
    files = OutputFiles(store)
    own = [(shard, format_of(shard)) for shard in files.removable(planned)]
    return [name for shard, entry in own if entry for name in shard_files(shard, entry) if name in files.sizes]


def remove_shards(store: Store, planned: Collection[str]) -> None:
    """Remove all that tokenize-images wrote: manifest, sidecars, shards, and what a kill left.

    `planned` are the names of the shards that are made next, without a suffix.
    """
    store.remove(MANIFEST_FILE)
    for name in removable_files(store, planned):
        store.remove(name)
    for sidecar in all_sidecars(store, store.sizes()):  # last, as they say whose the shards are
        store.remove(sidecar_name(sidecar.shard))
    store.remove_asides()


def refuse_replacing(store: Store, shards: Iterable[str], shard_format: ShardFormat) -> None:
    """Raise ValueError when a file of others would be replaced; one damaged beyond recognition may be vistok's own."""
    files, others = OutputFiles(store), store.others()
    sizes = files.sizes
    refuse_other(store, MANIFEST_FILE, MANIFEST_FILE in others or _is_other_json(store, MANIFEST_FILE, sizes))
    for shard in shards:
        if shard not in files.whole:
            sidecar, is_other = sidecar_name(shard), files.is_own(shard, shard_format) is False
            for name in shard_files(shard, shard_format):
                refuse_other(store, name, name in others or (is_other and name in sizes))
            refuse_other(store, sidecar, sidecar in others or _is_other_json(store, sidecar, sizes))


def refuse_other(store: Store, name: str, is_other: bool) -> None:
    """Raise ValueError when a file to write is one that vistok did not write, or no file."""
    if is_other:
        raise ValueError(
            f"{store.path_of(name)} was not written by vistok and would be replaced: move it away, or give another --out "
            "folder."
        )


def _is_other_json(store: Store, name: str, names: Collection[str]) -> bool:
    try:
        content = json.loads(store.read(name)) if name in names else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, list | dict) and bool(content) and OWN_KEYS.isdisjoint(map(str, content))
