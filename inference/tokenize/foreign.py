"""Files of others in the folder of the token shards, which are not replaced."""

import json
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

from ...images.saving import mark_of
from ..token_shards.sidecar import MANIFEST_FILE, read_sidecar
from ..token_shards.webdataset_format import is_token_tar
from .preview import PREVIEW_MARK

OWN_KEYS = frozenset({"schema_version", "fingerprint", "shard"})
"""Keys that manifests and sidecars have, and files of others do not: an `images` list is common elsewhere."""


def refuse_replacing(folder: Path, names: Iterable[str], previews: Iterable[Path]) -> None:
    """Raise ValueError when what will be written would take the place of what vistok did not write.

    That is the manifest, the shards of the names, and the previews.

    What is damaged beyond recognition may have been vistok's, and is replaced.
    """
    found = [folder / MANIFEST_FILE] if _is_other_json(folder / MANIFEST_FILE) else []
    for name in names:
        shard, sidecar = folder / f"{name}.tar", folder / f"{name}.json"
        if read_sidecar(folder, name) is None:
            found += [shard] if _is_other_tar(shard) else []
            found += [sidecar] if _is_other_json(sidecar) else []
    found += [path for path in previews if os.path.lexists(path) and mark_of(path) != PREVIEW_MARK]
    if found:
        raise ValueError(
            f"{found[0]} is not of vistok and would be replaced: move it away, or give another --out folder."
        )


def _is_other_tar(path: Path) -> bool:
    try:
        with tarfile.open(path, "r:") as tar:
            is_filled = tar.next() is not None
    except (tarfile.TarError, OSError, EOFError, ValueError):
        return False
    return is_filled and not is_token_tar(path)


def _is_other_json(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes()) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, list | dict) and bool(content) and not OWN_KEYS.intersection(map(str, content))
