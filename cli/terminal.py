"""What all commands share: their common options, and errors that become one sentence and an exit code.

The exit code is 2 for a wrong call and 1 for failed work. Nothing here imports torch.
"""

import json
import logging
import os
import sys
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import __version__
from .interruption import interruptible
from .progress import ProgressLine, track
from .user_errors import is_wrong_call, sentence_of
from .wrapping import fitted

__all__ = ["ProgressLine", "track"]  # commands take them from here

WORK_FAILED = 1
WRONG_CALL = 2
LIBRARIES = ("accelerate", "huggingface_hub", "tensorboard", "timm", "torchmetrics", "transformers", "webdataset")
ENVIRONMENT = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_VERBOSITY": "error",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"vistok {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the summary as one line of JSON.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@contextmanager
def one_sentence(command: str, debug: bool) -> Iterator[None]:
    """Turn errors and interruptions of the body into one line on standard error and an exit code.

    SIGTERM behaves as Ctrl-C. With `debug` errors pass.
    """
    _settle_console()
    with interruptible(command) as interruption:
        try:
            yield
            if sys.stdout is not None:
                sys.stdout.flush()  # here an error of it is still a sentence
        except typer.Exit:
            raise
        except BrokenPipeError:  # the reader has seen enough, as in `tokenize-images ... | head`
            _drop_output()
            raise typer.Exit(WORK_FAILED) from None
        except Exception as error:
            if debug:
                raise
            with suppress(OSError):
                say(f"{command}: {sentence_of(error)}", aside=True)
            _drop_output()
            raise typer.Exit(WRONG_CALL if is_wrong_call(error) else WORK_FAILED) from None
        except KeyboardInterrupt:
            interruption.tell()
            raise typer.Exit(WORK_FAILED) from None


def check_output_folder(out: Path) -> None:
    """Raise ValueError when --out is no folder and cannot become one, or cannot be written to."""
    nearest = next(path for path in (out.absolute(), *out.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        what = "file" if nearest.exists() else "link to nowhere"
        raise ValueError(f"--out is {out}, but {nearest} is a {what}: give a folder.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(
            f"--out is {out}, but {nearest} cannot be written to: change its permissions, or give another."
        )


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def names(text: str) -> str:
    r"""Return text that holds file names with everything escaped that would not print as itself: \n, \x1b, \udce9."""
    return "".join(
        letter if letter.isprintable() or unicodedata.category(letter) == "Zs" else _escaped(letter) for letter in text
    )


def say(line: str, aside: bool = False) -> None:
    """Print a line with file names in it, on standard output, or with `aside` on standard error.

    On a terminal it is broken between words; elsewhere it stays one line.
    """
    stream = sys.stderr if aside else sys.stdout
    print(fitted(names(line), stream), file=stream, flush=True)


def print_json(facts: Mapping[str, Any]) -> None:
    """Print the summary of a command as one line of JSON on standard output; paths become strings."""
    print(json.dumps(facts, default=str))


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def _settle_console() -> None:
    """Keep off the console what users cannot act on, and let no name be unprintable."""
    from ..images.opening.upright_rgb import ignore_oddities  # late: it takes Pillow and numpy

    ignore_oddities()
    _quiet_libraries()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _quiet_libraries() -> None:
    """Keep warnings, logs and bars of libraries off the console; before they are imported. What users have set wins."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module=rf"{library}(\.|$)")


def _drop_output() -> None:
    """Lose what standard output still holds when it cannot be written, or the interpreter would complain at its end."""
    with suppress(ValueError, AttributeError):  # closed, or not a file
        try:
            sys.stdout.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
