"""Files and folders that are there whole or not at all."""

import ctypes
import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from .turns import take_turn

ASIDE_PATTERN = ".vistok-*.part"
"""Matches what a command that was killed may leave behind."""
LFS = b"version https://git-lfs.github.com/spec/"
AT_FDCWD = -100
RENAME_EXCHANGE = 2
UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Errors of a file system that cannot exchange two names."""


def aside_of(path: Path) -> Path:
    """Return where a file is written before it is renamed to `path`: a short name, whatever the length of that one."""
    return path.with_name(f".vistok-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}.part")


def write_whole(path: Path, content: bytes | Iterable[bytes | memoryview]) -> None:
    """Write a file aside, flush it to the disk and rename it, so that a stop at any moment leaves the old or the new.

    The content may come in parts. Processes and threads that write the same file take turns. Raises OSError when the disk
    refuses; nothing half-written stays.
    """
    with whole_files([path]) as (file,):
        file.writelines([content] if isinstance(content, bytes) else content)


@contextmanager
def whole_files(paths: Sequence[Path]) -> Iterator[list[BinaryIO]]:
    """Yield files to write aside, which become `paths`, in order, at a clean exit; raise OSError as `write_whole` does.

    The last of several describes the others: it is removed before they change, and renamed last.
    """
    asides = [aside_of(path) for path in paths]
    with ExitStack() as turns:
        for aside in asides:
            aside.parent.mkdir(parents=True, exist_ok=True)
            turns.enter_context(take_turn(aside, aside.touch))
        try:
            with ExitStack() as opened:
                files = [opened.enter_context(open(aside, "w+b")) for aside in asides]
                yield files  # type: ignore[misc]  # of a class for reading and writing
                for file in files:
                    flush_to_disk(file)
            if len(paths) > 1:
                paths[-1].unlink(missing_ok=True)
            for aside, path in zip(asides, paths, strict=True):
                aside.replace(path)
        except BaseException as error:
            for aside in asides:
                aside.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.filename is None:  # an error of writing does not say where
                error.filename = str(paths[0])
            raise


@contextmanager
def aside_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target`, to write in and then rename; one that is not renamed is removed at the end.

    Processes and threads that write the same target take turns: one that waited may find it there. Raises OSError.
    """
    aside = aside_of(target)
    with take_turn(aside, aside.mkdir):
        for left in aside.iterdir():  # by a command that was killed
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        try:
            yield aside
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def check_no_pointer(path: Path) -> None:
    """Raise ValueError for a file that git has left a pointer of, as its large file storage is not installed; and OSError."""
    with path.open("rb") as file:
        if file.read(len(LFS)) == LFS:
            raise ValueError(f"{path} is a pointer of git LFS, not the file: run git lfs pull, or download the file.")


def remove_asides(folder: Path) -> None:
    """Remove what a command that was killed had begun to write."""
    for path in folder.glob(ASIDE_PATTERN):
        if not path.is_dir():  # of a tokenizer that was being saved
            path.unlink(missing_ok=True)


def flush_to_disk(file: IO[bytes]) -> None:
    """Return when what was written to a file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def replace_folder(new: Path, target: Path) -> None:
    """Move the folder `new` to `target` beside it, and remove the folder that was there.

    A stop at any moment leaves the old or the new one. File systems that cannot exchange two names, such as NFS, leave
    neither for an instant between two renames; `restore_folder` repairs a stop there. Raises OSError, also when `target` is
    a file.
    """
    if not target.is_dir():
        new.rename(target)
    elif not _exchanged(new, target):
        target.rename(_former(target))
        new.rename(target)
        shutil.rmtree(_former(target))
    else:
        shutil.rmtree(new)


def restore_folder(target: Path) -> None:
    """Restore `target` when a stop within `replace_folder` has left it under another name."""
    former = _former(target)
    if not former.is_dir():
        return
    if target.exists():
        shutil.rmtree(former)
    else:
        former.rename(target)


def _former(target: Path) -> Path:
    return aside_of(target).with_suffix(".old")


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names atomically; return False where the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):  # not Linux
        return False
    if rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(other))
