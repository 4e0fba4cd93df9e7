"""What all commands share: errors become one sentence, with exit code 2 for a wrong call and 1 for failed work."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from .images.opening import ignore_oddities

WORK_FAILED = 1
WRONG_CALL = 2

REMEDIES = {
    errno.ENOSPC: "make room and run the same command again",
    errno.EDQUOT: "make room and run the same command again",
    errno.EACCES: "change its permissions, or take another path",
    errno.EPERM: "change its permissions, or take another path",
    errno.EROFS: "take a path that can be written to",
    errno.EEXIST: "move it away, or take another path",
    errno.ENOTDIR: "move the file away that stands where a folder is due, or take another path",
    errno.EISDIR: "move the folder away that stands where a file is due, or take another path",
    errno.ENAMETOOLONG: "take a shorter name",
    errno.ENOENT: "look whether it was moved, and run the same command again",
}


@contextmanager
def one_sentence(command: str, debug: bool) -> Iterator[None]:
    """Turn errors of the body into one line on standard error and an exit code; with `debug` let them pass."""
    ignore_oddities()
    try:
        yield
    except typer.Exit:
        raise
    except Exception as error:
        if debug:
            raise
        print(f"{command}: {_sentence(error)}", file=sys.stderr)
        raise typer.Exit(WRONG_CALL if isinstance(error, ValueError) else WORK_FAILED) from None
    except KeyboardInterrupt:
        print(f"{command}: interrupted; the same command goes on from what is whole.", file=sys.stderr)
        raise typer.Exit(WORK_FAILED) from None


def check_output_folder(out: Path) -> None:
    """Raise ValueError when --out is no folder and cannot become one, or cannot be written to."""
    nearest = next(path for path in (out.absolute(), *out.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise ValueError(f"--out is {out}, but {nearest} is a file: give a folder.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(
            f"--out is {out}, but {nearest} cannot be written to: change its permissions, or give another."
        )


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        name = str(error.filename or "while writing").removesuffix(".part")
        what = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        return f"{what} ({name}): {REMEDIES.get(error.errno, 'look at the disk and run the same command again')}."
    if isinstance(error, MemoryError):
        return "the memory is full: close other programs, or take smaller pictures or batches."
    return str(error) or f"{type(error).__name__} (--debug shows where)."
