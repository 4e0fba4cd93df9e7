"""Public tokenizers as tokenizer folders: downloaded and imported once, then found without the network."""

import json
import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path, PurePosixPath

from ..tokenizer.files import write_whole
from ..tokenizer.folder_lock import FolderBusyError, hold_folder
from .checkpoints.weight_files import INDEX, SETTINGS, read_object
from .hub import Snapshot, cache_home, download
from .hub_errors import Repository
from .importers.table import VERSION
from .public import Public, PublicTokenizer

COMMIT = re.compile(r"[0-9a-f]{40}")
CONFIG_FILE = "config.json"
ASIDE = ".vistok-import-"
POLL = 0.2
"""Seconds between two looks whether another process has ended its import."""


def imported(name: str, entry: PublicTokenizer, revision: str | None = None) -> Path:
    """Return the folder of a public tokenizer, imported from the revision, or else the one of the table.

    One that was imported before is found without the network, and `revision` is asked for again only where it is no commit.
    Folders are kept by repository, commit and version of the importers. Raises ValueError when the hub refuses or cannot be
    reached, or the checkpoint is not what is expected; then nothing stays.
    """
    root = cache_home() / "vistok" / entry.repository.replace("/", "--")
    wanted = revision or entry.revision
    known = wanted if COMMIT.fullmatch(wanted) else _known_commit(root, wanted) if revision is None else None
    if known is not None and (_folder(root, known, name) / CONFIG_FILE).is_file():
        return _folder(root, known, name)
    given = name if revision is None else f"{name}@{revision}"
    otherwise = "download the checkpoint elsewhere and use import-tokenizer"
    snapshot = _download(Repository(entry.repository, wanted, given, otherwise), entry)
    folder = _folder(root, snapshot.commit, name)
    try:
        _import_once(folder, snapshot, entry)
    except ValueError as error:
        raise ValueError(
            f"{given} could not be imported ({str(error).rstrip('.')}): remove {snapshot.folder.parents[1]} to download it "
            "again, or use import-tokenizer on what it holds."
        ) from None
    if not COMMIT.fullmatch(wanted):
        write_whole(_ref(root, wanted), snapshot.commit.encode())
    return folder


def _folder(root: Path, commit: str, name: str) -> Path:
    return root / commit / f"v{VERSION}" / name


def _ref(root: Path, revision: str) -> Path:
    return root / "refs" / revision.replace("/", "--")


def _known_commit(root: Path, revision: str) -> str | None:
    with suppress(OSError):
        commit = _ref(root, revision).read_text()
        return commit if COMMIT.fullmatch(commit) else None
    return None


def _download(repository: Repository, entry: PublicTokenizer) -> Snapshot:
    """Download the files of an entry; where one of them is an index, those that it lists for the tokenizer, too."""
    found = download(repository, entry.files)
    files = list(entry.files)
    for name in found.files:
        if PurePosixPath(name).match(INDEX):
            try:
                shards = set(_weight_map(found.folder / name, entry.prefix).values())
            except ValueError as error:
                raise repository.error(f"has changed at {repository.url}: {error}", "update vistok") from None
            files += [str(PurePosixPath(name).with_name(shard)) for shard in sorted(shards)]
    if len(files) == len(entry.files):
        return found
    return download(repository._replace(revision=found.commit), files)


def _weight_map(index: Path, prefix: str) -> dict[str, str]:
    """Return the file of each tensor of the tokenizer, by name."""
    files = read_object(index).get("weight_map")
    if not isinstance(files, dict):
        raise ValueError(f"{index.name} lists no files of weights")
    own = {name: str(file) for name, file in files.items() if name.startswith(prefix)}
    for name, file in own.items():
        if PurePosixPath(file).name != file:
            raise ValueError(f"{index.name} has {name} in {file[:100]!r}, which is no file beside it")
    if not own:
        raise ValueError(f"{index.name} lists no tensor {prefix}*")
    return own


def _import_once(folder: Path, snapshot: Snapshot, entry: PublicTokenizer) -> None:
    """Import files into a folder, while other processes that want the same one wait."""
    while True:
        try:
            with hold_folder(folder.parent, "the import of a tokenizer"):
                if not (folder / CONFIG_FILE).is_file():
                    _import(folder, snapshot, entry)
            return
        except FolderBusyError:
            time.sleep(POLL)


def _import(folder: Path, snapshot: Snapshot, entry: PublicTokenizer) -> None:
    from .importers.import_checkpoint import import_checkpoint  # late: it takes a while

    for left in folder.parent.glob(f"{ASIDE}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=ASIDE) as aside:
        staging, result = Path(aside) / PurePosixPath(entry.repository).name, Path(aside) / "imported" / folder.name
        result.parent.mkdir()
        try:
            checkpoint = _staged(staging, snapshot, entry)
            public = Public(entry, snapshot.commit)
            import_checkpoint(checkpoint, result, entry.family, settings=entry.settings, public=public)
        except ValueError as error:
            shown = str(error).replace(f"{staging}{os.sep}", "").replace(str(staging), entry.repository)
            raise ValueError(shown) from None
        shutil.rmtree(folder, ignore_errors=True)  # without config.json, it is not whole
        result.rename(folder)


def _staged(folder: Path, snapshot: Snapshot, entry: PublicTokenizer) -> Path:
    """Link the files into a folder of their own, as the cache may hold others beside them; return the checkpoint in it."""
    folder.mkdir()
    weights = []
    for name in snapshot.files:
        source, target = (snapshot.folder / name).resolve(), folder / PurePosixPath(name).name
        if target.match(INDEX):
            target.write_text(json.dumps({"weight_map": _weight_map(source, entry.prefix)}))
            continue
        try:
            target.symlink_to(source)
        except OSError:  # Windows, without the right to make links
            shutil.copyfile(source, target)
        if target.name != SETTINGS:
            weights.append(target)
    return weights[0] if len(weights) == 1 else folder
