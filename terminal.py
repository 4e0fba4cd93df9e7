"""What all commands share: errors become one sentence, with exit code 2 for a wrong call and 1 for failed work."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

WORK_FAILED = 1
WRONG_CALL = 2


@contextmanager
def one_sentence(command: str, debug: bool) -> Iterator[None]:
    """Turn errors of the body into one line on standard error and an exit code; with `debug` let them pass."""
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


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk is full ({error.filename or 'while writing'}): make room and run the same command again."
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}."
    return str(error) or f"{type(error).__name__} (--debug shows where)."
