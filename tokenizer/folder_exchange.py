"""Replace a folder as a whole."""

import ctypes
import errno
import os
import shutil
from pathlib import Path

from .files import aside_of

AT_FDCWD = -100
RENAME_EXCHANGE = 2
UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Errors of a file system that cannot exchange two names."""


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
