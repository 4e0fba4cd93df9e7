"""From an exception to the sentence that users read, and whose fault it is."""

import errno
import opcode
from pathlib import PurePath
from types import TracebackType

from ..tokenizer.errors import WorkFailedError
from ..tokenizer.files import ASIDE_PATTERN

REMEDIES = {
    errno.ENOSPC: "make room and run the same command again",
    errno.EDQUOT: "make room and run the same command again",
    errno.EACCES: "change its permissions, or take another path",
    errno.EPERM: "change its permissions, or take another path",
    errno.EROFS: "take a path that can be written to",
    errno.EEXIST: "move it away, or take another path",
    errno.ENOTDIR: "move the file away that is where a folder should be, or take another path",
    errno.EISDIR: "move the folder away that is where a file should be, or take another path",
    errno.ENAMETOOLONG: "take a shorter name",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or take fewer workers",
    errno.ENFILE: "close other programs, or take fewer workers",
    errno.ENOMEM: "close other programs, or take smaller images or batches",
    errno.ENOENT: "look whether it was moved, and run the same command again",
}
PACKAGE = __package__.partition(".")[0]
RAISE = opcode.opmap["RAISE_VARARGS"]


def is_wrong_call(error: Exception) -> bool:
    """Return whether an error is a ValueError that vistok raised, which is how it answers a wrong call.

    One that is a WorkFailedError as well says that the call was right.
    """
    return isinstance(error, ValueError) and not isinstance(error, WorkFailedError) and _is_ours(error)


def sentence_of(error: Exception) -> str:
    """Return what an error says, in one sentence; that of a library is named by its kind."""
    if isinstance(error, OSError) and error.errno is not None:
        what = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        return (
            f"{what} ({_place(error)}): {REMEDIES.get(error.errno, 'look at the disk and run the same command again')}."
        )
    if isinstance(error, MemoryError):
        return "the memory is full: close other programs, or take smaller images or batches."
    lines = str(error).strip().splitlines()
    if lines and _is_ours(error):
        return " ".join(lines)
    # What a worker process raised arrives with its traceback as text, the error in the last line.
    told = lines[-1] if any("Traceback (most recent call last)" in line for line in lines) else "".join(lines[:1])
    return f"{': '.join(filter(None, [type(error).__name__, told.rstrip('.')]))} (--debug shows where)."


def _place(error: OSError) -> str:
    if error.filename is None:
        return "while writing"
    path = PurePath(str(error.filename))
    return str(path.parent) if path.match(ASIDE_PATTERN) else str(path).removesuffix(".part")


def _is_ours(error: Exception) -> bool:
    """Return whether vistok made the error: by its class, or a raise statement, not a call that failed in a library."""
    origin = _innermost(error.__traceback__)
    if origin is None or _in_package(type(error).__module__):
        return True
    frame = origin.tb_frame
    return _in_package(str(frame.f_globals.get("__name__"))) and frame.f_code.co_code[origin.tb_lasti] == RAISE


def _in_package(module: str) -> bool:
    return module.partition(".")[0] == PACKAGE


def _innermost(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback
