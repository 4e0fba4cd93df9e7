"""From what users type to paths: brace ranges spelled out, and .txt lists read."""

import os
from collections.abc import Iterable
from pathlib import Path

from braceexpand import braceexpand


def expand_inputs(inputs: Iterable[str]) -> list[str]:
    """Return the paths that inputs stand for: brace ranges spelled out, and .txt lists (a path a line) read.

    Relative paths, those in a list too, start from the working directory. Raises ValueError for a path that does not
    exist, braces without a partner, and a list that leads back to itself.
    """
    return [path for text in inputs for path in _expand(text, "", ())]


def printable(name: str) -> str:
    r"""Return a file name with bytes that are not UTF-8 written as \xff, so that it can be shown and stored."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _expand(text: str, where: str, lists: tuple[str, ...]) -> list[str]:
    """Expand one input, which stands at `where` ("in LIST, line N: ") within `lists` that lead to it."""
    paths = []
    for path in [text] if os.path.exists(text) else _brace_range(text, where):
        if not os.path.exists(path):
            start = ", counted from the working directory" if where and not os.path.isabs(path) else ""
            raise ValueError(
                f"{where}{printable(path)} does not exist{start}: give picture files, folders, .tar shards or a .txt list."
            )
        if path.lower().endswith(".txt") and os.path.isfile(path):
            paths += _read_list(path, where, lists)
        else:
            paths.append(path)
    return paths


def _brace_range(text: str, where: str) -> Iterable[str]:
    try:
        yield from braceexpand(text)
    except ValueError:
        raise ValueError(
            f"{where}{printable(text)} does not exist and has a brace without its partner: write a range as "
            "photos-{0000..0009}.tar."
        ) from None


def _read_list(path: str, where: str, lists: tuple[str, ...]) -> list[str]:
    real = os.path.realpath(path)
    if real in lists:
        raise ValueError(f"{where}{printable(path)} leads back to itself: remove that line.")
    # File names are bytes: what is not UTF-8 is kept as it is. The signature is Windows' byte order mark.
    content = Path(path).read_text("utf-8-sig", "surrogateescape")
    return [
        found
        for number, line in enumerate(content.split("\n"), start=1)
        if line.strip()
        for found in _expand(line.strip(), f"in {printable(path)}, line {number}: ", (*lists, real))
    ]
