"""Expand what users type to paths: brace ranges and .txt lists. Image files are known by their extensions."""

import io
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ...tokenizer.remote_files import local_path, open_filesystem, open_remote, protocol_of
from ...tokenizer.retries import StillFailingError
from ..file_entry import FOLDER, printable, problem_of
from .braces import balanced, expand_braces

IMAGE_EXTENSIONS = (
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg"),
    *(".png", ".tif", ".tiff", ".webp"),
)
"""Extensions of files that can be read. HEIC needs the extra `heif`; without it, each such image is a failure that says so."""
ALLOWED = "give image files, folders, .tar shards or a .txt list"
ALLOWED_ANYWHERE = "give image files, folders, .tar shards, .parquet files, URLs of these or a .txt list"
"""Where images are also read from tables and from stores."""
_COMPRESSED = tuple(
    [f".tar.{ending}" for ending in ("gz", "bz2", "xz", "lzma", "zst", "lz4", "lz", "z", "br")]
    + [".tgz", ".taz", ".tbz", ".tbz2", ".tb2", ".txz", ".tlz", ".tzst"]
)
MAX_LIST = 1 << 30
"""Bytes of a .txt list."""
_BYTE_ORDER_MARKS = {  # UTF-32 first: its mark begins like that of UTF-16
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


class Input(NamedTuple):
    """An expanded path or URL."""

    path: str
    problem: str = ""
    """Why a path in a list cannot be read: "does not exist (LIST, line 3)"."""
    place: str = ""
    """Of a URL in a list: "LIST, line 3". Nobody has asked yet whether it exists."""
    is_folder: bool = False


def is_image(name: str) -> bool:
    """Return whether a file name has the extension of an image."""
    return name.lower().endswith(IMAGE_EXTENSIONS)


def expand_inputs(inputs: Iterable[str], allowed: str = ALLOWED) -> Iterator[Input]:
    """Expand brace ranges and .txt lists, which have a path a line; lazily, since a list may have a million lines.

    A .txt beside an image of the same name is its caption, not a list. In a list, blank lines are skipped, and lines that
    begin with # unless a file has that name. A path in a list that does not exist becomes an Input with a problem. Relative
    paths start from the working directory, also in a list.
    Raises ValueError for unbalanced braces, a compressed tar, and a path outside a list that does not exist or is a device.
    A list raises it if it cannot be read, is not text or includes itself, and OSError if it is behind a URL that does not
    answer. Messages end with what is `allowed`.
    """
    for text in inputs:
        yield from _expand(text, allowed)


def _expand(text: str, allowed: str, place: str = "", inside: tuple[str, ...] = ()) -> Iterator[Input]:
    """Expand what was named on the command line, or at a place in a list within the lists `inside`, by their real paths."""
    where = f"in {place}: " if place else ""
    if protocol_of(text):
        yield from _expand_url(text, allowed, place, inside)
        return
    text = local_path(text)
    # Names in a list may have unbalanced braces; on the command line they are a typing error.
    is_literal = "{" not in text or os.path.lexists(text) or (place and not balanced(text))
    for path in [text] if is_literal else expand_braces(text, where):
        problem = problem_of(path)
        lower = path.lower()
        if problem == FOLDER:
            yield Input(path, is_folder=True)
        elif problem and place:
            yield Input(path, f"{problem} ({place})")
        elif problem:
            raise ValueError(f"{printable(path) or repr(path)} {problem}: {allowed}.")
        elif lower.endswith(_COMPRESSED):
            raise ValueError(f"{where}{printable(path)} is a compressed tar: decompress it, and give the .tar.")
        elif lower.endswith(".txt") and not _is_caption(path):
            yield from _read_list(path, allowed, where, inside)
        else:
            yield Input(path)


def _expand_url(text: str, allowed: str, place: str, inside: tuple[str, ...]) -> Iterator[Input]:
    where = f"in {place}: " if place else ""
    for url in expand_braces(text, where) if balanced(text) else [text]:
        if url.lower().endswith(_COMPRESSED):
            raise ValueError(f"{where}{printable(url)} is a compressed tar: decompress it, and give the .tar.")
        if url.lower().endswith(".txt"):
            yield from _read_list(url, allowed, where, inside)
        else:
            yield Input(url, place=place)


def _is_caption(path: str) -> bool:
    """Return whether an image of the same name is beside a file, as with `tokenize-images photos/*`."""
    stem = os.path.splitext(path)[0]
    return any(os.path.exists(stem + ending) for ending in IMAGE_EXTENSIONS)


def _read_list(path: str, allowed: str, where: str, inside: tuple[str, ...]) -> Iterator[Input]:
    name, real = f"{where}{printable(path)}", path if protocol_of(path) else os.path.realpath(path)
    if real in inside:
        raise ValueError(f"{name} leads back to itself: remove that line.")
    for line, text in _lines(path, allowed, name):
        if text.strip() and (not text.lstrip().startswith("#") or os.path.lexists(text.strip())):
            yield from _expand(text.strip(), allowed, f"{printable(path)}, line {line}", (*inside, real))


def _lines(path: str, allowed: str, name: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a list, numbered from 1; `name` begins error messages."""
    try:
        with open_remote(*open_filesystem(path), path) if protocol_of(path) else open(path, "rb") as file:
            if file.seek(0, os.SEEK_END) > MAX_LIST:
                raise ValueError(f"{name} has more than {MAX_LIST:,} bytes, too many for a list: split it.")
            file.seek(0)
            encoding, errors = _encoding(file.read(4))
            file.seek(0)
            with io.TextIOWrapper(file, encoding, errors, newline="\n") as text:
                for number, line in enumerate(text, start=1):
                    if "\0" in line:
                        raise UnicodeError
                    yield number, line
    except UnicodeError:
        raise ValueError(
            f"{name} is not text in UTF-8, nor in UTF-16 with a byte order mark: save it as UTF-8."
        ) from None
    except StillFailingError:  # which says nothing about the call
        raise
    except FileNotFoundError:
        raise ValueError(f"{name} does not exist: {allowed}.") from None
    except OSError as error:
        raise ValueError(f"{name} cannot be read ({error.strerror}): allow it, or leave it out.") from None


def _encoding(start: bytes) -> tuple[str, str]:
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if start.startswith(mark):
            return encoding, "strict"
    # File names are bytes: those that are not UTF-8 are kept unchanged. -sig skips the mark that Windows writes.
    return "utf-8-sig", "surrogateescape"
