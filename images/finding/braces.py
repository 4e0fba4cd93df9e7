"""Brace ranges as in bash, photos-{0000..0009}.tar, counted before they are spelled out."""

import math
import re
from collections.abc import Iterable, Iterator
from string import ascii_lowercase, ascii_uppercase

from braceexpand import braceexpand

from ..entry import printable

MAX_PATHS = 1_000_000
"""Paths that the braces of one input may stand for."""
MAX_DIGITS = 4000
"""Python refuses to read numbers of 300 digits more."""
_NUMBERS = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.-?(\d+))?$")
_LETTERS = re.compile(r"([A-Za-z])\.\.([A-Za-z])(?:\.\.-?(\d+))?$")
_ALPHABET = ascii_uppercase + ascii_lowercase


def balanced(text: str) -> bool:
    """Return whether each brace has its partner."""
    return sum({"{": 1, "}": -1}.get(character, 0) for _, character, _ in _depths(text)) == 0


def spelled_out(text: str, where: str) -> Iterable[str]:
    """Return the paths that a text with braces stands for; `where` says where it was found ("in LIST, line 2: ").

    Raises ValueError for a brace without its partner, and for more than MAX_PATHS paths.
    """
    if "{" not in text:
        return [text]
    if not balanced(text):
        raise ValueError(
            f"{where}{printable(text)} does not exist and has a brace without its partner: write a range as "
            "photos-{0000..0009}.tar."
        )
    try:
        if _count(text) <= MAX_PATHS:
            return braceexpand(text)
    except RecursionError:
        raise ValueError(
            f"{where}{printable(text[:80])}... has too many braces within braces: write several."
        ) from None
    raise ValueError(f"{where}{printable(text)} stands for more than {MAX_PATHS:,} paths: write smaller ranges.")


def _count(pattern: str) -> int:
    """Return how many paths a pattern stands for, by the grammar of braceexpand."""
    return math.prod(_choices(braces) for braces in _outermost(pattern))


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
    for place, character, depth in _depths(pattern):
        if character == "{" and depth == 1:
            start = place + 1
        elif character == "}" and depth == 0:
            yield pattern[start:place]


def _alternatives(expression: str) -> Iterator[str]:
    start = 0
    for place, character, depth in _depths(expression):
        if character == "," and depth == 0:
            yield expression[start:place]
            start = place + 1
    yield expression[start:]


def _depths(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield each character that no backslash precedes: (place, character, braces open behind it)."""
    depth = place = 0
    while place < len(text):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if text[place] == "\\":
            place += 1
        else:
            yield place, text[place], depth
        place += 1
