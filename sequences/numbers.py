"""How a text tokenizer spells a grid: "32*48" may be two, four or five ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, takewhile
from typing import TypeAlias

from .text import TextTokenizer

Spelling: TypeAlias = tuple[int, ...]

MAX_SIDE = 1024
"""Rows and columns that a vocabulary can spell, unless it is made for more."""
DENSE, STRIDES = 128, 12


@dataclass(frozen=True)
class NumberText:
    """The ids that spell rows and columns: a head for each number of rows, then a tail for each number of columns.

    To which of the two the separator belongs, and how many ids a number has, is the text tokenizer's choice.
    """

    separator: str
    heads: tuple[Spelling, ...]
    tails: tuple[Spelling, ...]

    def __post_init__(self) -> None:
        for field in ("heads", "tails"):
            object.__setattr__(self, field, tuple(tuple(spelling) for spelling in getattr(self, field)))
        _check_unambiguous(self.heads, self.tails)

    @property
    def max_side(self) -> int:
        """The highest number of rows or columns that can be spelled."""
        return min(len(self.heads), len(self.tails))

    @property
    def max_length(self) -> int:
        """The most ids that spell a grid."""
        return max(map(len, self.heads)) + max(map(len, self.tails))

    @property
    def ids(self) -> frozenset[int]:
        """All ids of spellings."""
        return frozenset(number for ids in (*self.heads, *self.tails) for number in ids)

    def write(self, y: int, x: int) -> Spelling:
        """Return the ids of a grid; raise ValueError for one beyond `max_side`."""
        if not (1 <= y <= self.max_side and 1 <= x <= self.max_side):
            raise ValueError(
                f"The grid {y} x {x} cannot be written: the vocabulary spells numbers from 1 to {self.max_side}; make it "
                "with a higher max_side."
            )
        return self.heads[y - 1] + self.tails[x - 1]

    def read(self, ids: Sequence[int]) -> tuple[int, int] | None:
        """Return the rows and columns that ids spell, or None when they spell none."""
        rows, columns = self._read
        for cut in range(1, len(ids)):
            y, x = rows.get(tuple(ids[:cut])), columns.get(tuple(ids[cut:]))
            if y is not None and x is not None:
                return y, x
        return None

    @cached_property
    def _read(self) -> tuple[dict[Spelling, int], dict[Spelling, int]]:
        rows, columns = ({ids: number for number, ids in enumerate(part, 1)} for part in (self.heads, self.tails))
        return rows, columns


def number_text(text: TextTokenizer, separator: str = "*", max_side: int = MAX_SIDE) -> NumberText:
    """Find out how a text tokenizer spells grids up to `max_side`, and check it against its encoding of whole grids.

    Raises ValueError when the ids of some grid are not those of its rows followed by those of its columns.
    """
    numbers = range(1, max_side + 1)
    ones, twos, tails = (
        _encode(text, separator, pairs)
        for pairs in ([(y, 1) for y in numbers], [(y, 2) for y in numbers], [(1, x) for x in numbers])
    )
    heads = [_common(one, two) for one, two in zip(ones, twos, strict=True)]
    spelled = NumberText(separator, tuple(heads), tuple(tail[len(heads[0]) :] for tail in tails))
    grids = list(dict.fromkeys(_checked_grids(max_side)))
    for (y, x), ids in zip(grids, _encode(text, separator, grids), strict=True):
        if spelled.write(y, x) != ids:
            raise ValueError(
                f"The text tokenizer spells {f'{y}{separator}{x}'!r} with other ids than its numbers: choose another "
                "separator, or None for layouts that write no grid."
            )
    return spelled


def _encode(text: TextTokenizer, separator: str, grids: Sequence[tuple[int, int]]) -> list[Spelling]:
    return [tuple(ids) for ids in text.encode_batch([f"{y}{separator}{x}" for y, x in grids])]


def _common(one: Spelling, two: Spelling) -> Spelling:
    return tuple(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False)))


def _checked_grids(max_side: int) -> chain[tuple[int, int]]:
    """Return all small grids, since ids join digits at the separator, and some that have all numbers of rows and columns."""
    dense = range(1, min(max_side, DENSE) + 1)
    numbers = range(max_side)
    strided = ((k + 1, (k * (2 * s + 1) + 37 * s) % max_side + 1) for s in range(STRIDES) for k in numbers)
    return chain(((y, x) for y in dense for x in dense), strided, ((k + 1, max_side - k) for k in numbers))


def _check_unambiguous(heads: tuple[Spelling, ...], tails: tuple[Spelling, ...]) -> None:
    """Raise ValueError when two grids have the same ids."""
    known_heads, known_tails = set(heads), set(tails)
    if len(known_heads) < len(heads) or len(known_tails) < len(tails) or not (known_heads and known_tails):
        raise ValueError("Two numbers of a grid have the same ids: choose another separator, or None.")
    if () in known_heads or () in known_tails:
        raise ValueError("A number of a grid has no ids of its own: choose another separator, or None.")
    rests = {head[cut:] for head in heads for cut in range(1, len(head)) if head[:cut] in known_heads}
    if any(tail[:cut] in rests and tail[cut:] in known_tails for tail in tails for cut in range(1, len(tail))):
        raise ValueError("Two grids have the same ids: choose another separator, or None.")
