"""Brace ranges as in bash, photos-{0000..0009}.tar, counted before they are expanded."""

import math
import re
from collections.abc import Iterable, Iterator
from string import ascii_lowercase, ascii_uppercase

from braceexpand import braceexpand

from ..file_entry import printable

MAX_PATHS = 1_000_000
"""Paths that one input may expand to."""
MAX_DIGITS = 4000
"""Below the limit of 4,300 digits from which Python refuses to read a number."""
_NUMBERS = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.-?(\d+))?$")
_LETTERS = re.compile(r"([A-Za-z])\.\.([A-Za-z])(?:\.\.-?(\d+))?$")
_ALPHABET = ascii_uppercase + ascii_lowercase


def balanced(text: str) -> bool:
    """Return whether every brace is closed."""
    return sum({"{": 1, "}": -1}.get(character, 0) for _, character, _ in _depths(text)) == 0


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
    """Return how many paths braceexpand makes of a pattern."""
    return math.prod(map(_choices, _outermost(pattern)))


def _choices(expression: str) -> int:
    if match := _NUMBERS.match(expression) or _LETTERS.match(expression):
        first, last, step = match.groups()
        if len(expression) > MAX_DIGITS:
            return MAX_PATHS + 1
        return abs(_position(last) - _position(first)) // (int(step or 1) or 1) + 1
    return sum(map(_count, _alternatives(expression)))


def _position(end: str) -> int:
    return _ALPHABET.index(end) if end in _ALPHABET else int(end)


def _outermost(pattern: str) -> Iterator[str]:
    start = 0
    for index, character, depth in _depths(pattern):
        if character == "{" and depth == 1:
            start = index + 1
        elif character == "}" and depth == 0:
            yield pattern[start:index]


def _alternatives(expression: str) -> Iterator[str]:
    start = 0
    for index, character, depth in _depths(expression):
        if character == "," and depth == 0:
            yield expression[start:index]
            start = index + 1
    yield expression[start:]


def _depths(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield each character that is not escaped: (index, character, depth of braces after it)."""
    depth = index = 0
    while index < len(text):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if text[index] == "\\":
            index += 1
        else:
            yield index, text[index], depth
        index += 1
