"""Which files of a folder of packed sequences vistok wrote: those it may remove or replace, and those it must not touch."""

import json
from collections.abc import Collection, Iterable
from contextlib import ExitStack
from itertools import chain

from ..token_shards.manifest import is_packed
from ..token_shards.ownership import OWN_KEYS, refuse_other
from ..token_shards.sidecar import MANIFEST_FILE
from ..token_shards.store import Store
from .formats import PackedFormat, packed_files, packed_shard_of
from .sidecar import TOKENIZER_FILE, VOCABULARY_FILE, packed_sidecars, sidecar_of


class PackedFiles:
    """The files of a folder as they are now, and which of them vistok wrote."""

    def __init__(self, store: Store):
        self.sizes = store.sizes()
        self._store = store
        self.sidecars = packed_sidecars(store, self.sizes)
        self.whole = {sidecar.shard for sidecar in self.sidecars if sidecar.is_whole(self.sizes)}
        self._described = {file.name: file.size for sidecar in self.sidecars for file in sidecar.files}

    def is_own(self, name: str, packed_format: PackedFormat) -> bool | None:
        """Return whether vistok wrote what is there of a shard; None when that is nothing, or damaged beyond recognition."""
        names = packed_files(name, packed_format)
        there = [file for file in names if file in self.sizes]
        if there and all(self.sizes[file] == self._described.get(file) for file in there):
            return True
        try:
            with ExitStack() as stack:
                files = [stack.enter_context(self._store.open(file)) if file in there else None for file in names]
                return packed_format.is_own(files) if there else None
        except OSError:
            return None

    def orphans(self) -> list[tuple[str, PackedFormat]]:
        """Return the shards that vistok wrote and that have no sidecar that fits."""
        found = dict(filter(None, map(packed_shard_of, sorted(self.sizes))))
        return [(name, entry) for name, entry in found.items() if name not in self.whole and self.is_own(name, entry)]


def remove_packed(store: Store, planned: Collection[str]) -> None:
    """Remove all that pack-sequences wrote: manifest, vocabulary, sidecars, shards, and what a kill left.

    What a kill left has vistok's mark and no sidecar. So may what somebody makes of a shard, which has another name than one
    of `planned`, the shards that are made next, or of those with a sidecar.
    """
    files = PackedFiles(store)
    is_extended = MANIFEST_FILE in files.sizes and b'"is_extended": true' in store.read(MANIFEST_FILE)
    for name in (*([TOKENIZER_FILE] if is_extended else []), VOCABULARY_FILE, MANIFEST_FILE):
        store.remove(name)
    named = {sidecar.shard for sidecar in files.sidecars} | set(planned)
    left = [packed_files(shard, entry) for shard, entry in files.orphans() if shard in named]
    whole = [[file.name for file in sidecar.files] for sidecar in files.sidecars]
    for name in chain(*left, *whole, (sidecar_of(sidecar.shard) for sidecar in files.sidecars)):  # sidecars last
        store.remove(name)
    store.remove_asides()


def refuse_replacing_others(
    store: Store, shards: Iterable[str], packed_format: PackedFormat, is_extended: bool = False
) -> None:
    """Raise ValueError when a file of others would be replaced; one damaged beyond recognition may be vistok's own."""
    files, others = PackedFiles(store), store.others()
    is_other_manifest = MANIFEST_FILE in files.sizes and not is_packed(store.read(MANIFEST_FILE))
    refuse_other(store, MANIFEST_FILE, MANIFEST_FILE in others or is_other_manifest)
    is_packed_folder = MANIFEST_FILE in files.sizes or bool(files.sidecars)
    for name in (VOCABULARY_FILE, *([TOKENIZER_FILE] if is_extended else [])):
        refuse_other(store, name, name in others or (name in files.sizes and not is_packed_folder))
    for shard in shards:
        if shard not in files.whole:
            sidecar, is_other = sidecar_of(shard), files.is_own(shard, packed_format) is False
            for name in packed_files(shard, packed_format):
                refuse_other(store, name, name in others or (is_other and name in files.sizes))
            refuse_other(store, sidecar, sidecar in others or _is_other_json(store, sidecar, files))


def _is_other_json(store: Store, name: str, files: PackedFiles) -> bool:
    try:
        content = json.loads(store.read(name)) if name in files.sizes else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, list | dict) and bool(content) and OWN_KEYS.isdisjoint(map(str, content))
