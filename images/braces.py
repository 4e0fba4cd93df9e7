"""Brace ranges as in bash, photos-{0000..0009}.tar, counted before they are spelled out."""

import math
from collections.abc import Iterator

from braceexpand import UnbalancedBracesError, alphabet, braceexpand, char_range_re, int_range_re

from .entry import printable

MAX_PATHS = 1_000_000
"""Paths that the braces of one input may stand for."""


def spelled_out(text: str, where: str) -> Iterator[str]:
    """Yield the paths that a text with braces stands for; `where` says where it was found ("in LIST, line 2: ").

    Raises ValueError for a brace without its partner, and for more than MAX_PATHS paths.
    """
    if "{" not in text:
        yield text
        return
    try:
        if _count(text) > MAX_PATHS:
            raise ValueError(
                f"{where}{printable(text)} stands for more than {MAX_PATHS:,} paths: write smaller ranges."
            )
        paths = braceexpand(text)
    except UnbalancedBracesError:
        raise ValueError(
            f"{where}{printable(text)} does not exist and has a brace without its partner: write a range as "
            "photos-{0000..0009}.tar."
        ) from None
    except RecursionError:
        raise ValueError(
            f"{where}{printable(text[:80])}... has too many braces within braces: write it in parts."
        ) from None
    yield from paths


def _count(pattern: str) -> int:
    """Return how many paths a pattern stands for, by the grammar of braceexpand."""
    return math.prod(_choices(braces) for braces in _outermost(pattern))


def _choices(expression: str) -> int:
    if match := int_range_re.match(expression):
        first, last, step = match.groups()
        if max(map(len, match.group(0).split(".."))) > 18:
            return MAX_PATHS + 1
        return abs(int(last) - int(first)) // (int(step or 1) or 1) + 1
    if match := char_range_re.match(expression):
        first, last, step = match.groups()
        return abs(alphabet.index(last) - alphabet.index(first)) // (int(step or 1) or 1) + 1
    return sum(map(_count, _alternatives(expression)))


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
