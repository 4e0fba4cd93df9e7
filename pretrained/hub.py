"""Download files of a repository of the Hugging Face hub. Whatever prevents it is one sentence."""

import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from ..tokenizer.wording import list_first
from .cache import one_sentence_of_disk
from .hub_errors import HubFailedError, OutOfReachError, Repository, one_sentence
from .hub_progress import blobs_folder, hub_progress, say_that_copy_is_used
from .network import hub_endpoint, is_reachable

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

TRUE = ("1", "ON", "YES", "TRUE")
QUICK, PATIENT = 1.5, 5.0
"""Seconds in which the hub must answer: before the cache is used instead, and before it counts as out of reach."""
SHOWN = 4
CLIENT = "huggingface_hub.file_download"
"""Logger of the hub's client."""


class Snapshot(NamedTuple):
    """Files of a repository in the cache of the hub's client."""

    folder: Path
    """That of the commit; it may hold other files too."""
    commit: str
    files: tuple[str, ...]
    """Their names in the repository."""


def download(repository: Repository, files: Sequence[str], optional: Sequence[str] = ()) -> Snapshot:
    """Return the files that match names or patterns, all of one commit, and all that match `optional`.

    Files that are in the cache are not downloaded again. A file whose download is cut goes on where it stopped, but not in a
    later process: the client of the hub keeps no part of it. Without the hub, or when it fails, the cache answers alone.

    Raises ValueError when the hub refuses or has no such file, OutOfReachError when it cannot be asked or fails, and
    WorkFailedError of the disk.
    """
    is_offline = any(os.environ.get(name, "").upper() in TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    with one_sentence_of_disk(repository.given):
        try:
            return _found(repository, files, optional, is_offline)
        except HubFailedError as error:
            found = _cached(repository, files, optional)
            if found is None:
                raise
            say_that_copy_is_used(repository.given, error.answer)
            return found


def _found(repository: Repository, files: Sequence[str], optional: Sequence[str], is_offline: bool) -> Snapshot:
    with one_sentence(repository):
        if is_offline or not is_reachable(hub_endpoint(), QUICK):
            found = _cached(repository, files, optional)
            if found is not None:
                return found
        if is_offline:
            raise _out_of_reach(repository, "HF_HUB_OFFLINE forbids to download it", "unset it")
        if not is_reachable(hub_endpoint(), PATIENT):
            raise _out_of_reach(repository, "the hub cannot be reached", "connect to the network")
        return _downloaded(repository, files, optional)


def _out_of_reach(repository: Repository, why: str, remedy: str) -> OutOfReachError:
    return OutOfReachError(str(repository.error(f"is not in the cache of this machine, and {why}", remedy)))


def _cached(repository: Repository, files: Sequence[str], optional: Sequence[str]) -> Snapshot | None:
    """Return what the cache has at the revision; None unless it has all of `files`."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = snapshot_download(
            repository.name, revision=repository.revision, local_files_only=True, allow_patterns=[*files]
        )
    except LocalEntryNotFoundError:
        return None
    folder = Path(found)
    there = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    matches = [_matches(pattern, there) for pattern in files]
    if any(len(names) != 1 for names in matches):
        return None
    names = [name for (name,) in matches] + _any_matches(optional, there)
    return Snapshot(folder, folder.name, tuple(names))


def _downloaded(repository: Repository, files: Sequence[str], optional: Sequence[str]) -> Snapshot:
    from huggingface_hub import HfApi, hf_hub_download

    api = HfApi(endpoint=hub_endpoint())
    info = api.model_info(repository.name, revision=repository.revision, files_metadata=True)
    there = {file.rfilename: file for file in info.siblings or []}
    names = [_only_match(repository, pattern, there) for pattern in files]
    names += _any_matches(optional, there)
    blobs = blobs_folder(repository.name)
    missing = {name: there[name].size or 0 for name in names if not (blobs / _stored_as(there[name])).is_file()}
    revision, folder = repository.revision, Path()
    progressing = hub_progress(repository.given, repository.name, sum(missing.values()))
    with progressing as progress, warnings.catch_warnings(), _quiet(logging.getLogger(CLIENT)):
        warnings.filterwarnings("ignore", "Not enough free disk space")  # the error that follows says so
        for name in names:
            path = hf_hub_download(repository.name, name, revision=revision, endpoint=hub_endpoint())
            folder = Path(path).parents[len(PurePosixPath(name).parts) - 1]
            revision = folder.name  # the commit, in case that the branch moves
            progress.add(missing.get(name, 0))
    return Snapshot(folder, folder.name, tuple(names))


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Keep warnings off the console, such as those on a download that is cut and goes on."""
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _stored_as(file: "RepoSibling") -> str:
    """Return the name under which the cache holds the content of a file."""
    return str(file.lfs.sha256 if file.lfs else file.blob_id)


def _only_match(repository: Repository, pattern: str, names: Iterable[str]) -> str:
    found = _matches(pattern, names)
    if len(found) > 1:
        shown = list_first(found, SHOWN)
        raise repository.error(f"has several files {pattern} ({shown}) at {repository.url}", "update vistok")
    if not found:
        raise repository.no_such_file(pattern)
    return found[0]


def _any_matches(patterns: Iterable[str], names: Iterable[str]) -> list[str]:
    names = list(names)
    return [name for pattern in patterns for name in _matches(pattern, names)]


def _matches(pattern: str, names: Iterable[str]) -> list[str]:
    """Return the names that match; an asterisk stands for a part of the last name of a path."""
    return sorted(name for name in names if fnmatchcase(name, pattern) and name.count("/") == pattern.count("/"))
