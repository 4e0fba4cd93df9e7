"""Writing the files of a remote folder, where nothing can be renamed: each is put whole, or several in one commit."""

import errno
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

from ...tokenizer.remote_files import FileSystem
from ...tokenizer.retries import retried

IN_MEMORY = 64 << 20
"""Bytes of the largest file that is put from memory; a larger one is sent in parts."""


def put_in_order(filesystem: FileSystem, files: Mapping[str, BinaryIO], url_of: Callable[[str], str]) -> None:
    """Put files by their paths, in order; the last of several is removed before the others change. Raises OSError."""
    *_, last = files
    if len(files) > 1:
        remove_file(filesystem, last, url_of(last))
    for path, file in files.items():
        _put(filesystem, path, file, url_of(path))


def commit_together(filesystem: FileSystem, files: Mapping[str, BinaryIO], url_of: Callable[[str], str]) -> None:
    """Put files into a repository of the Hugging Face hub in one commit, so that all are there or none. Raises OSError."""
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=filesystem.endpoint, token=filesystem.token)
    names = [os.path.basename(path) for path in files]

    def commit() -> Any:
        added = []
        for path, file in files.items():
            file.seek(0)
            place = filesystem.resolve_path(path)
            added.append(CommitOperationAdd(place.path_in_repo, file))
        return api.create_commit(
            place.repo_id,
            added,
            commit_message=f"vistok: {', '.join(names)}",
            repo_type=place.repo_type,
            revision=place.revision,
        )

    retried(commit, url_of(next(iter(files))))
    filesystem.invalidate_cache()


def remove_file(filesystem: FileSystem, path: str, url: str) -> None:
    """Remove a file, if there is one; raise OSError."""
    try:
        retried(lambda: filesystem.rm_file(path), url)
    except FileNotFoundError:
        return


def _put(filesystem: FileSystem, path: str, file: BinaryIO, url: str) -> None:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    content = file.read() if size <= IN_MEMORY else None

    def put() -> None:
        if content is None:
            _send(filesystem, path, file)
        else:
            filesystem.pipe_file(path, content)
        filesystem.invalidate_cache(path)
        arrived = filesystem.info(path)["size"]
        if arrived != size:
            raise OSError(errno.EIO, f"{arrived} of {size} bytes arrived", url)

    retried(put, url)


def _send(filesystem: FileSystem, path: str, file: BinaryIO) -> None:
    """Send a large file in parts, which become a file when the last one has arrived."""
    target = filesystem.open(path, "wb")
    try:
        file.seek(0)
        shutil.copyfileobj(file, target, 8 << 20)
    except BaseException:
        target.closed = True  # closing it, as its end does, would make a cut file of what has arrived
        with suppress(Exception):  # where the parts stay, they are no file; what went wrong first is raised
            getattr(target, "discard", lambda: None)()
        raise
    target.close()
