"""What a command puts on the console: one sentence and an exit code for an error, and no noise of libraries."""

import errno
import logging
import opcode
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePath

import typer

from ..tokenizer.files import ASIDE_PATTERN
from ..tokenizer.remote_files import protocol_of
from ..tokenizer.wording import shortened
from .interruption import interruptible
from .printing import say

WORK_FAILED = 1
WRONG_CALL = 2
REMEDIES: dict[int | None, str] = {
    None: "check the disk and run the same command again",
    errno.ENOSPC: "make room and run the same command again",
    errno.EDQUOT: "make room and run the same command again",
    errno.EACCES: "change its permissions, or take another path",
    errno.EPERM: "change its permissions, or take another path",
    errno.EROFS: "take a path that can be written to",
    errno.EEXIST: "move it away, or take another path",
    errno.ENOTDIR: "move the file away to make room for a folder, or take another path",
    errno.EISDIR: "move the folder away to make room for a file, or take another path",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or take fewer workers",
    errno.ENFILE: "close other programs, or take fewer workers",
    errno.ENOMEM: "close other programs, or take smaller images or batches",
    errno.ENOENT: "check whether it was moved, and run the same command again",
}
REMOTE_REMEDIES: dict[int | None, str] = {
    None: "run the same command again when it answers",
    errno.EACCES: "check its credentials, or take another URL",
    errno.ENOENT: "check the name of the bucket or of the repository",
}
PACKAGE = __package__.partition(".")[0]
RAISE = opcode.opmap["RAISE_VARARGS"]
LIBRARIES = ("accelerate", "huggingface_hub", "tensorboard", "timm", "torchmetrics", "transformers", "webdataset")
QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_VERBOSITY": "error",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
"""Variables of the environment that silence libraries, unless users have set them."""


@contextmanager
def report_errors(command: str, debug: bool) -> Iterator[None]:
    """Turn errors and interruptions of the body into one line on standard error and an exit code.

    SIGTERM behaves as Ctrl-C. With `debug` errors pass through.
    """
    _quiet_libraries()
    with interruptible(command) as interruption:
        try:
            yield
            if sys.stdout is not None:
                sys.stdout.flush()  # while its errors can still be reported
        except typer.Exit:
            raise
        except BrokenPipeError:  # the reader stopped early, as in `tokenize-images ... | head`
            _discard_output()
            raise typer.Exit(WORK_FAILED) from None
        except Exception as error:
            if debug:
                raise
            with suppress(OSError):
                say(f"{command}: {describe_error(error)}", aside=True)
            _discard_output()
            is_wrong_call = (isinstance(error, ValueError) and _is_ours(error)) or _is_of_a_path(error)
            raise typer.Exit(WRONG_CALL if is_wrong_call else WORK_FAILED) from None
        except KeyboardInterrupt:
            interruption.report()
            raise typer.Exit(WORK_FAILED) from None


def _quiet_libraries() -> None:
    """Keep libraries that are imported from now on off the console, and let any file name be printed."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module=rf"{library}(\.|$)")
    # Pillow also opens files that are no input, such as one in the way of an output.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def describe_error(error: Exception) -> str:
    """Return an error as one sentence; errors of libraries begin with their class."""
    if isinstance(error, OSError) and error.errno is not None:
        if _is_of_a_path(error):
            return f"{shortened(_path_of(error))} is longer than the system allows: take a shorter name."
        what = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        remedies = REMOTE_REMEDIES if protocol_of(str(error.filename or "")) else REMEDIES
        remedy = remedies.get(error.errno, remedies[None])
        return f"{what} ({_path_of(error)}): {remedy}."
    if _is_of_a_path(error):
        return "A path has a NUL byte in it, which no file name can have: take another path."
    if isinstance(error, MemoryError):
        return "the memory is full: close other programs, or take smaller images or batches."
    lines = str(error).strip().splitlines()
    if lines and _is_ours(error):
        return " ".join(lines)
    # An error of a worker process carries its traceback as text; the last line is the message.
    told = lines[-1] if any("Traceback (most recent call last)" in line for line in lines) else "".join(lines[:1])
    return f"{': '.join(filter(None, [type(error).__name__, told.rstrip('.')]))} (--debug shows where)."


def _is_of_a_path(error: Exception) -> bool:
    """Return whether the system takes a path for no name at all, whatever is on the disk."""
    if isinstance(error, OSError):
        return error.errno == errno.ENAMETOOLONG
    return isinstance(error, ValueError) and str(error).startswith("embedded null ")


def _path_of(error: OSError) -> str:
    if error.filename is None:
        return "while writing"
    if protocol_of(str(error.filename)):
        return str(error.filename)
    path = PurePath(str(error.filename))
    return str(path.parent) if path.match(ASIDE_PATTERN) else str(path).removesuffix(".part")


def _is_ours(error: Exception) -> bool:
    """Return whether vistok defined the error or raised it by a statement; a failed call into a library is not ours."""
    origin = error.__traceback__
    while origin is not None and origin.tb_next is not None:
        origin = origin.tb_next
    if origin is None or _in_package(type(error).__module__):
        return True
    frame = origin.tb_frame
    return _in_package(str(frame.f_globals.get("__name__"))) and frame.f_code.co_code[origin.tb_lasti] == RAISE


def _in_package(module: str) -> bool:
    return module.partition(".")[0] == PACKAGE


def _discard_output() -> None:
    """Discard what standard output cannot write; the interpreter would complain about it on exit."""
    with suppress(ValueError, AttributeError):  # closed, or not a file
        try:
            sys.stdout.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
