"""Folders that are replaced as a whole."""

import ctypes
import errno
import os
import shutil
from pathlib import Path

from .files import aside_of

AT_FDCWD = -100
RENAME_EXCHANGE = 2
CANNOT = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What a file system says that cannot exchange two names."""


def replace_folder(new: Path, place: Path) -> None:
    """Move the folder `new` to `place`, beside it, and remove the folder that was there.

    A stop at any moment leaves the old or the new one. Only on file systems that cannot exchange two names (as NFS) there
    is an instant between two renames; `restore_folder` mends what a stop leaves then. Raises OSError, also when `place` is
    a file.
    """
    if not place.is_dir():
        new.rename(place)
    elif not _exchanged(new, place):
        place.rename(_former(place))
        new.rename(place)
        shutil.rmtree(_former(place))
    else:
        shutil.rmtree(new)


def restore_folder(place: Path) -> None:
    """Bring `place` back when a stop within `replace_folder` has left it under another name."""
    former = _former(place)
    if not former.is_dir():
        return
    if place.exists():
        shutil.rmtree(former)
    else:
        former.rename(place)


def _former(place: Path) -> Path:
    return aside_of(place).with_suffix(".old")


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names at once; return False where that cannot be done."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):  # another system than Linux
        return False
    if rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(other))
