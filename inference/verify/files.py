"""What the names and sizes of the files of a folder show: what is missing, cut, left over, or of others."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath

from ..inputs.input_files import sha256_of
from ..token_shards.formats import SHARD_FORMATS, format_of, shard_files
from ..token_shards.manifest import NOT_ENDED, Manifest, settings_that_differ
from ..token_shards.ownership import OWN_KEYS, OutputFiles
from ..token_shards.shard_file import ShardFile
from ..token_shards.sidecar import MANIFEST_FILE, Sidecar
from ..token_shards.store import Store
from .problems import Problem


def total_problems(manifest: Manifest, sidecars: list[Sidecar]) -> Iterator[Problem]:
    """Compare the totals of a manifest with the sidecars of its tokenizer, and say when they are not the last ones."""
    there = {
        "shards": len(sidecars),
        "images": sum(sidecar.images for sidecar in sidecars),
        "rows": sum(sidecar.rows for sidecar in sidecars),
        "failures": sum(len(sidecar.failures) for sidecar in sidecars),
    }
    for name, count in there.items():
        if (counted := getattr(manifest, name)) != count:
            yield Problem("manifest", MANIFEST_FILE, "", f"counts {counted:,} {name}, but the sidecars have {count:,}")
    if not manifest.has_ended:
        yield Problem("manifest", MANIFEST_FILE, "", NOT_ENDED)


def sidecar_problems(
    store: Store, manifest: Manifest | None, sidecars: list[Sidecar], sizes: Mapping[str, int]
) -> Iterator[Problem]:
    """Name the sidecars that are none, and those that are not of the folder's tokenizer, settings or format."""
    known = {sidecar.name for sidecar in sidecars}
    for name in sorted(sizes):
        if name.endswith(".json") and name != MANIFEST_FILE and PurePath(name).stem not in known:
            what = no_sidecar(store.read(name))
            if what:
                yield Problem("sidecars", name, "", what)
    for sidecar in sidecars if manifest else []:
        assert manifest
        if sidecar.fingerprint != manifest.fingerprint:
            what = f"is of another tokenizer ({sidecar.fingerprint[:12]}) than {manifest.model} in {MANIFEST_FILE}"
            yield Problem("sidecars", sidecar.shard, "", what)
        if found := settings_that_differ(sidecar, manifest):
            what = f"was made with {' and '.join(found)} as in {MANIFEST_FILE}"
            yield Problem("sidecars", sidecar.shard, "", what)
        if format_of(sidecar.shard) is not SHARD_FORMATS[manifest.format]:
            yield Problem("sidecars", sidecar.shard, "", f"is not {manifest.format}, the format in {MANIFEST_FILE}")


def stray_problems(store: Store, sidecars: list[Sidecar]) -> Iterator[Problem]:
    """Name the files that a trainer would take for shards, and that no sidecar describes."""
    files = OutputFiles(store)
    described = {file.name for sidecar in sidecars for file in sidecar.files}
    seen: set[str] = set()
    for name in sorted(files.sizes):
        entry = next((entry for entry in SHARD_FORMATS.values() if PurePath(name).suffix in entry.suffixes), None)
        is_index = str(PurePath(name).with_suffix("")) in described  # NAME.tar.idx of `energon prepare`
        if entry is None or name in described or name in seen or is_index:
            continue
        shard = str(PurePath(name).with_suffix(entry.suffixes[0]))
        group = [each for each in shard_files(shard, entry) if each in files.sizes and each not in described]
        is_own = files.is_own(shard, entry)
        seen.update(group)
        if is_own:
            yield Problem("sidecars", shard, "", "has no sidecar that describes it, so it may not be whole")
        for each in group if not is_own else []:
            what = "was not written by vistok" if is_own is False else "is damaged beyond recognition"
            yield Problem("sidecars", each, "", f"{what}, and has no sidecar")
    for name in sorted(store.others()):
        if any(PurePath(name).suffix in entry.suffixes for entry in SHARD_FORMATS.values()):
            yield Problem("sidecars", name, "", "is no file")


def size_problems(files: Iterable[ShardFile], sizes: Mapping[str, int]) -> Iterator[Problem]:
    """Name the files of a shard that are missing, or have another size than its sidecar says."""
    for file in files:
        if file.name not in sizes:
            yield Problem("files", file.name, "", "is missing")
        elif sizes[file.name] != file.size:
            size = sizes[file.name]
            what = f"has {size:,} bytes, but its sidecar says {file.size:,}: it is cut or was changed"
            yield Problem("files", file.name, "", what)


def content_problems(store: Store, file: ShardFile) -> Iterator[Problem]:
    """Say that a file cannot be read, or has another SHA-256 than its sidecar says."""
    try:
        with store.open(file.name) as opened:
            has_size = opened.seek(0, os.SEEK_END) == file.size  # another size is a problem of its own
            opened.seek(0)
            if has_size and sha256_of(opened) != file.sha256:
                yield Problem("files", file.name, "", "has another SHA-256 than its sidecar says")
    except OSError as error:
        yield Problem("files", file.name, "", f"cannot be read ({error.strerror or error})")


def no_sidecar(content: bytes) -> str:
    """Return what is wrong with a JSON file that is no sidecar of a shard beside it, "" for one of another program."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return "is damaged, or no JSON"
    if not isinstance(values, dict) or OWN_KEYS.isdisjoint(values):
        return ""
    return "is damaged, or the sidecar of a shard of another name or of another version of vistok"
