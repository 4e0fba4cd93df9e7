"""Brace ranges as in bash, photos-{0000..0009}.tar, counted before they are expanded."""

import re
from collections.abc import Iterable
from string import ascii_lowercase, ascii_uppercase

from braceexpand import braceexpand

from ..file_entry import printable

MAX_PATHS = 1_000_000
"""Paths that one input may expand to."""
MAX_DIGITS = 4000
"""Below the limit of 4,300 digits from which Python refuses to read a number."""
_SIGNS = re.compile(r"\\.|[{},]", re.DOTALL)
_NUMBERS = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.-?(\d+))?$")
_LETTERS = re.compile(r"([A-Za-z])\.\.([A-Za-z])(?:\.\.-?(\d+))?$")
_ALPHABET = ascii_uppercase + ascii_lowercase


def balanced(text: str) -> bool:
    """Return whether every brace is closed."""
    signs = [match[0] for match in _SIGNS.finditer(text)]
    return signs.count("{") == signs.count("}")


def expand_braces(text: str, where: str) -> Iterable[str]:
    """Return the paths that braces expand to; `where` begins error messages ("in LIST, line 2: ").

    Raises ValueError for unbalanced braces and for more than MAX_PATHS paths.
    """
    if "{" not in text:
        return [text]
    if not balanced(text):
        raise ValueError(
            f"{where}{printable(text)} does not exist and has unbalanced braces: write a range as "
            "photos-{0000..0009}.tar."
        )
    try:
        if _count(text) <= MAX_PATHS:
            return braceexpand(text)
    except RecursionError:
        raise ValueError(
            f"{where}{printable(text[:80])}... has too deeply nested braces: give several inputs."
        ) from None
    raise ValueError(f"{where}{printable(text)} expands to more than {MAX_PATHS:,} paths: write smaller ranges.")


def _count(pattern: str) -> int:
    """Return how many paths braceexpand expands a pattern to."""
    levels = [
        [0, 1, 0]
    ]  # of each open brace: paths of the finished alternatives, of the current one, and where it began
    unopened = 0
    for sign in _SIGNS.finditer(pattern):
        if sign[0] == "{" and unopened:
            unopened -= 1  # braceexpand keeps "}{" as it is
        elif sign[0] == "{":
            levels.append([0, 1, sign.end()])
        elif sign[0] == "}" and len(levels) == 1:
            unopened += 1
        elif sign[0] == "}":
            finished, current, start = levels.pop()
            levels[-1][1] *= _range_length(pattern[start : sign.start()]) or finished + current
        elif sign[0] == "," and len(levels) > 1:
            levels[-1][:2] = sum(levels[-1][:2]), 1
    return levels[0][1]


def _range_length(expression: str) -> int:
    """Return how many numbers or letters a range has; 0 for anything else."""
    match = _NUMBERS.match(expression) or _LETTERS.match(expression)
    if not match:
        return 0
    first, last, step = match.groups()
    if len(expression) > MAX_DIGITS:
        return MAX_PATHS + 1
    return abs(_position(last) - _position(first)) // (int(step or 1) or 1) + 1


def _position(end: str) -> int:
    return _ALPHABET.index(end) if end in _ALPHABET else int(end)
