"""The folder that holds what was downloaded and imported, and what its disk refuses, as one sentence."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..tokenizer.errors import WorkFailedError

FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG)
UNUSABLE = (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)
"""Errors of a folder that cannot be made, where they name one."""


def cache_home() -> Path:
    """Return the folder of the hub's caches, without importing the client of the hub."""
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or os.path.join(user, "huggingface")
    return Path(os.path.expandvars(os.path.expanduser(home)))


def is_of_disk(error: OSError) -> bool:
    """Return whether an error is one of the disk that holds the caches, not of the network."""
    return error.errno in (*FULL, *REFUSED) or (error.errno in UNUSABLE and error.filename is not None)


@contextmanager
def one_sentence_of_disk(given: str) -> Iterator[None]:
    """Turn errors of the disk that holds the caches into a WorkFailedError that names the folder; `given` is the tokenizer."""
    try:
        yield
    except OSError as error:
        if not is_of_disk(error):
            raise
        home = cache_home()
        blocking = next((path for path in (home, *home.parents) if path.exists()), home)
        if blocking.is_file():
            what = f"HF_HOME is {home}, but {blocking} is a file: set HF_HOME to a folder"
        elif error.errno in FULL:
            what = f"the disk of {home} is full: make room, or set HF_HOME to a folder on another disk"
        else:
            where = error.filename or home
            what = (
                f"{where} cannot be written to ({error.strerror}): set HF_HOME, which is {home}, to a folder that can"
            )
        raise WorkFailedError(f"{given} could not be stored: {what}.") from None
