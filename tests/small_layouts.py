"""A small vocabulary, and every layout of the table on it."""

from typing import NamedTuple

from vistok.sequences.layouts import Grid, Layout, build_layout
from vistok.sequences.modality import ROLES, Modality
from vistok.sequences.numbers import NumberText
from vistok.sequences.vocabulary import Vocabulary

BOS, EOS, PAD = 0, 1, 2
TEXT = 50
FIRST_STRUCTURE = 30
STRUCTURE = {role: FIRST_STRUCTURE + index for index, role in enumerate(ROLES)}
WORDS = range(3, 10)
"""Ids of ordinary text, without digits."""
MAX_SIDE = 12


GRIDS = (Grid(1, 1), Grid(2, 3), Grid(4, 2), Grid(11, 1))


class Case(NamedTuple):
    layout: Layout
    has_begin: bool = True
    writes_grid: bool = True
    grids: tuple[Grid, ...] = GRIDS


def small_vocabulary(size: int = 7, num_codebooks: int = 1, separator: str = "*", text: int = TEXT) -> Vocabulary:
    """Text of 50 ids, in which a digit is an id and structure ids lie, then codes."""
    mark = {"*": 20, " ": 21}[separator]
    heads = [(*_digits(number), mark) for number in range(1, MAX_SIDE + 1)]
    tails = [_digits(number) for number in range(1, MAX_SIDE + 1)]
    words = Modality("text", (0,), text, {"begin": BOS, "end": EOS, "pad": PAD})
    offsets = tuple(text + size * index for index in range(num_codebooks))
    return Vocabulary((words, Modality("image", offsets, size, STRUCTURE)), NumberText(separator, heads, tails))


def _digits(number: int) -> tuple[int, ...]:
    return tuple(10 + int(digit) for digit in str(number))


def small_cases() -> dict[str, Case]:
    """Return at least one layout of each name in LAYOUTS; the name comes first."""
    one, two, three = (small_vocabulary(num_codebooks=count) for count in (1, 2, 3))
    spaced = small_vocabulary(separator=" ")
    return {
        "raster": Case(build_layout("raster", two), has_begin=False, writes_grid=False),
        "emu3": Case(build_layout("emu3", one)),
        "emu3 3.5": Case(build_layout("emu3", one, last_row_end=False)),
        "chameleon": Case(build_layout("chameleon", one), writes_grid=False),
        "lumina": Case(build_layout("lumina", one)),
        "glm": Case(build_layout("glm", spaced, draft_side=2)),
        "glm without draft": Case(build_layout("glm", spaced, draft_side=0)),
        "interleaved": Case(build_layout("interleaved", three)),
        "flattened": Case(build_layout("flattened", two, frame="ends"), writes_grid=False),
        "delayed": Case(build_layout("delayed", three)),
        "scales": Case(build_layout("scales", one, scales=[1, 2, 3]), grids=(*GRIDS[:3], Grid(4, 4))),
        "digits": Case(build_layout("digits", small_vocabulary(size=5), levels=[5, 3, 2])),
    }
