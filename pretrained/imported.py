"""Public tokenizers as tokenizer folders: downloaded and imported once, then found without the network."""

import json
import os
import shutil
import tempfile
import time
from pathlib import Path, PurePosixPath

from ..tokenizer.folder_lock import FolderBusyError, hold_folder
from .cache import cache_home, one_sentence_of_disk
from .checkpoints.weight_files import INDEX, SETTINGS, read_object
from .hub import Snapshot, download
from .hub_errors import HubFailedError, OutOfReachError, Repository
from .hub_progress import say_that_copy_is_used
from .kept import CONFIG_FILE, FOLDER, Kept
from .public import Public, PublicTokenizer

ASIDE = ".vistok-import-"
POLL = 0.2
"""Seconds between two looks whether another process has ended its import."""


def imported(name: str, entry: PublicTokenizer, revision: str | None = None) -> Path:
    """Return the folder of a public tokenizer, imported from a revision, or else the one that it has here.

    Folders are kept by repository, commit and version of the importers. For each name and revision, the commit that was
    imported is kept, too. Without a revision, the name is that of the table's revision at the commit of its last import, which
    needs no network; one that has none is downloaded. A branch or tag is asked for again, unless the hub is out of reach.

    Raises ValueError when the hub refuses or cannot be reached, or the checkpoint is not what is expected, and WorkFailedError
    of the disk; then nothing stays.
    """
    given = name if revision is None else f"{name}@{revision}"
    with one_sentence_of_disk(given):
        return _imported(name, entry, revision, given)


def _imported(name: str, entry: PublicTokenizer, revision: str | None, given: str) -> Path:
    kept = Kept(cache_home() / FOLDER / entry.repository.replace("/", "--"), name)
    wanted = revision or entry.revision
    known = kept.commit(wanted)
    here = kept.import_of(wanted)
    if here and (revision is None or known == wanted):
        return here
    others = "".join(f"give {name}@{each}, which is imported, or " for each in kept.revisions() if revision is None)
    otherwise = f"{others}download the checkpoint elsewhere and use import-tokenizer"
    asked = known if known and revision is None else wanted  # a new version of the importers has the same commit
    try:
        snapshot = _download(Repository(entry.repository, asked, given, otherwise), entry)
    except OutOfReachError as error:
        if not here:
            raise
        if isinstance(error, HubFailedError):
            say_that_copy_is_used(given, error.answer)
        return here
    folder = kept.folder(snapshot.commit)
    try:
        _import_once(folder, snapshot, entry)
    except ValueError as error:
        raise ValueError(
            f"{given} could not be imported ({str(error).rstrip('.')}): remove {snapshot.folder.parents[1]} to download it "
            "again, or use import-tokenizer on what it holds."
        ) from None
    kept.keep(wanted, snapshot.commit)
    return folder


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
