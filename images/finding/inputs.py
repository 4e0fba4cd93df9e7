"""From what users type to paths: brace ranges spelled out, and .txt lists read."""

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..entry import printable, problem_of
from .braces import balanced, spelled_out
from .endings import IMAGE_ENDINGS

__all__ = ["Input", "expand_inputs", "printable"]

_ALLOWED = "give image files, folders, .tar shards or a .txt list"
_COMPRESSED = tuple(
    [f".tar.{ending}" for ending in ("gz", "bz2", "xz", "lzma", "zst", "lz4", "lz", "z", "br")]
    + [".tgz", ".taz", ".tbz", ".tbz2", ".tb2", ".txz", ".tlz", ".tzst"]
)
MAX_LIST = 1 << 30
"""Bytes of a .txt list."""
_MARKS = {  # the longer first: that of UTF-32 starts like that of UTF-16
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


class Input(NamedTuple):
    """A path that goes in."""

    path: str
    problem: str = ""
    """Why the path that a list names is none to read: "does not exist (LIST, line 3)"."""


class _Place(NamedTuple):
    """Where an input was named."""

    list: str = ""
    line: int = 0
    inside: tuple[str, ...] = ()
    """Real paths of the lists that lead here."""

    def __str__(self) -> str:
        return f"in {printable(self.list)}, line {self.line}: " if self.list else ""


def expand_inputs(inputs: Iterable[str]) -> list[Input]:
    """Return the paths that inputs stand for: brace ranges spelled out, and .txt lists (a path a line) read.

    A .txt beside an image of its name is its caption and no list. In a list, blank lines and lines that begin with # (unless
    a file has that very name) are passed over, and a path that does not exist becomes an Input with a problem. Relative
    paths, those in a list too, start from the working directory.
    Raises ValueError for a path outside lists that does not exist or is a device, for braces without a partner, a
    compressed tar, and a list that cannot be read, is no text or leads back to itself.
    """
    return [found for text in inputs for found in _expand(text, _Place())]


def _expand(text: str, place: _Place) -> Iterator[Input]:
    # Names in a list may have any braces; on the command line, one without its partner is a slip.
    as_it_is = os.path.lexists(text) or (place.list and not balanced(text))
    for path in [text] if as_it_is else spelled_out(text, str(place)):
        problem = "" if os.path.isdir(path) else problem_of(path)
        lower = path.lower()
        if problem and place.list:
            yield Input(path, f"{problem} ({printable(place.list)}, line {place.line})")
        elif problem:
            raise ValueError(f"{printable(path) or repr(path)} {problem}: {_ALLOWED}.")
        elif lower.endswith(_COMPRESSED) and not os.path.isdir(path):
            raise ValueError(f"{place}{printable(path)} is a compressed tar: decompress it, and give the .tar.")
        elif lower.endswith(".txt") and not os.path.isdir(path) and not _is_caption(path):
            yield from _read_list(path, place)
        else:
            yield Input(path)


def _is_caption(path: str) -> bool:
    """Return whether an image of the same name lies beside a file, as with `tokenize-images photos/*`."""
    stem = os.path.splitext(path)[0]
    return any(os.path.exists(stem + ending) for ending in IMAGE_ENDINGS)


def _read_list(path: str, place: _Place) -> Iterator[Input]:
    real = os.path.realpath(path)
    if real in place.inside:
        raise ValueError(f"{place}{printable(path)} leads back to itself: remove that line.")
    for line, text in _lines(path, place):
        if text.strip() and (not text.lstrip().startswith("#") or os.path.lexists(text.strip())):
            yield from _expand(text.strip(), _Place(path, line, (*place.inside, real)))


def _lines(path: str, place: _Place) -> Iterator[tuple[int, str]]:
    """Yield the lines of a list with their numbers."""
    name = f"{place}{printable(path)}"
    try:
        if os.path.getsize(path) > MAX_LIST:
            raise ValueError(f"{name} has more than {MAX_LIST:,} bytes, too many for a list: split it.")
        encoding, errors = _encoding(path)
        with open(path, encoding=encoding, errors=errors, newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if "\0" in line:
                    raise UnicodeError
                yield number, line
    except UnicodeError:
        raise ValueError(
            f"{name} is not text in UTF-8, nor in UTF-16 with a byte order mark: save it as UTF-8."
        ) from None
    except OSError as error:
        raise ValueError(f"{name} cannot be read ({error.strerror}): allow it, or leave it out.") from None


def _encoding(path: str) -> tuple[str, str]:
    with open(path, "rb") as file:
        start = file.read(4)
    for mark, encoding in _MARKS.items():
        if start.startswith(mark):
            return encoding, "strict"
    # File names are bytes: what is not UTF-8 is kept as it is. The signature is Windows' byte order mark.
    return "utf-8-sig", "surrogateescape"
