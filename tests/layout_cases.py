"""Every layout with a vocabulary and options, how its tokens are drawn, and its ids written by loops from its description."""

import itertools
import math
from typing import Any, NamedTuple

import torch

from toy_text import toy_vocabulary
from vistok.sequences.layouts import Grid, Layout, build_layout
from vistok.sequences.vocabulary import Vocabulary

VAR = [1, 2, 3, 4, 5, 6, 8, 10, 13, 16]
LEVELS = [8, 5, 3]


class Case(NamedTuple):
    name: str
    vocabulary: Vocabulary
    options: dict[str, Any] = {}
    reads_grid: bool = True
    grids: tuple[tuple[int, int], ...] = ((1, 1), (1, 7), (5, 2), (3, 3), (12, 10))

    def layout(self, **more) -> Layout:
        return build_layout(self.name, self.vocabulary, **self.options, **more)

    def given(self, grid) -> Grid | None:
        return None if self.reads_grid else Grid(*grid)


BARE = {"frame": "none"}
CASES = {
    "raster": Case("raster", toy_vocabulary(30), reads_grid=False),
    "raster, several": Case("raster", toy_vocabulary(30, 3), reads_grid=False),
    "emu3": Case("emu3", toy_vocabulary(30)),
    "emu3.5": Case("emu3", toy_vocabulary(30), {"last_row_end": False}),
    "chameleon": Case("chameleon", toy_vocabulary(30), reads_grid=False),
    "lumina": Case("lumina", toy_vocabulary(30)),
    "glm": Case("glm", toy_vocabulary(30, 1, " ")),
    "glm, small draft": Case("glm", toy_vocabulary(30, 1, " "), {"draft_side": 2}),
    "glm, no draft": Case("glm", toy_vocabulary(30, 1, " "), {"draft_side": 0}),
    "interleaved": Case("interleaved", toy_vocabulary(30, 3)),
    "interleaved, ends": Case("interleaved", toy_vocabulary(30, 3), {"frame": "ends"}, reads_grid=False),
    "interleaved, one": Case("interleaved", toy_vocabulary(30, 1, " ")),
    "flattened": Case("flattened", toy_vocabulary(30, 3)),
    "flattened, bare": Case("flattened", toy_vocabulary(30, 2), BARE, reads_grid=False),
    "delayed": Case("delayed", toy_vocabulary(30, 4)),
    "delayed, one": Case("delayed", toy_vocabulary(30)),
    "delayed, bare": Case("delayed", toy_vocabulary(30, 2), BARE, reads_grid=False),
    "scales": Case("scales", toy_vocabulary(30), {"scales": [1, 2, 3]}, grids=((3, 3), (6, 3), (3, 5), (12, 12))),
    "scales, VAR": Case("scales", toy_vocabulary(30), {"scales": VAR}, grids=((16, 16), (16, 32), (20, 16))),
    "digits": Case("digits", toy_vocabulary(8), {"levels": LEVELS}),
    "digits, own ids": Case("digits", toy_vocabulary(8, 3), {"levels": LEVELS}),
    "digits, bare": Case("digits", toy_vocabulary(8), {"levels": LEVELS} | BARE, reads_grid=False),
}


def draw(case, grid, batch=(), seed=0):
    """Return random tokens of a case."""
    generator = torch.Generator().manual_seed(seed)
    shape = (case.vocabulary["image"].num_codebooks, *grid)
    if case.name == "scales":
        count = sum(
            (s * grid[0] // last) * (s * grid[1] // last) for s in case.options["scales"] for last in scale(case)
        )
        shape = (1, count, 1) if grid[0] > grid[1] else (1, 1, count)
    elif case.name == "glm" and case.options.get("draft_side", 16):
        shape = (1, 1, math.prod(draft(case, grid)) + math.prod(grid))
    elif case.name == "digits":
        shape = (1, *grid)
    size = math.prod(LEVELS) if case.name == "digits" else case.vocabulary["image"].size
    return torch.randint(size, (*batch, *shape), generator=generator)


def scale(case):
    return case.options["scales"][-1:]


def draft(case, grid):
    y, x = grid
    side = case.options.get("draft_side", 16)
    return max(1, int(math.sqrt(y / x) * side)), max(1, int(math.sqrt(x / y) * side))


def written(case, tokens, grid):
    """Return the ids of tokens `q y x`, id after id."""
    return list(itertools.chain(*WRITERS[case.name](case, tokens, Grid(*grid))))


def mark(case, *roles):
    return [case.vocabulary["image"].structure[role] for role in roles]


def number(case, grid):
    return [ord(letter) for letter in f"{grid[0]}{case.vocabulary.numbers.separator}{grid[1]}"]


def code(case, token, codebook=0):
    return case.vocabulary["image"].offsets[codebook] + int(token)


def around(case, grid, codes):
    frame = case.options.get("frame", "grid")
    if frame == "grid":
        yield from (mark(case, "begin"), number(case, grid), mark(case, "image"))
    elif frame == "ends":
        yield mark(case, "begin")
    yield codes
    if frame != "none":
        yield mark(case, "end")


def in_raster(case, tokens, grid):
    for y, x, q in itertools.product(range(grid.y), range(grid.x), range(len(tokens))):
        yield code(case, tokens[q, y, x], q)


def in_chameleon(case, tokens, grid):
    yield from (mark(case, "begin"), in_raster(case, tokens, grid), mark(case, "end"))


def in_rows(case, tokens, last=True):
    for y, row in enumerate(tokens[0]):
        yield [code(case, token) for token in row]
        if last or y + 1 < len(tokens[0]):
            yield mark(case, "row_end")


def in_emu3(case, tokens, grid):
    yield from (mark(case, "begin"), number(case, grid), mark(case, "image"))
    yield from in_rows(case, tokens, case.options.get("last_row_end", True))
    yield mark(case, "rows_end", "end")


def in_lumina(case, tokens, _grid):
    yield from (mark(case, "begin"), *in_rows(case, tokens), mark(case, "end"))


def in_glm(case, tokens, grid):
    grids = [grid, draft(case, grid)] if case.options.get("draft_side", 16) else [grid]
    for each in grids:
        yield from (mark(case, "grid_begin"), number(case, each), mark(case, "grid_end"))
    yield from (mark(case, "begin"), [code(case, token) for token in tokens.flatten()], mark(case, "end"))


def flat(case, tokens, _grid):
    return [code(case, token, q) for q, grid in enumerate(tokens) for row in grid for token in row]


def in_steps(case, tokens, _grid):
    rows = [codebook.flatten().tolist() for codebook in tokens]
    pads = mark(case, "pad")
    late = [[None] * q + row + [None] * (len(rows) - 1 - q) for q, row in enumerate(rows)]
    for step in zip(*late, strict=True):
        for q, token in enumerate(step):
            yield pads[0] if token is None else code(case, token, q)


def in_digits(case, tokens, _grid):
    several = case.vocabulary["image"].num_codebooks > 1
    for token in tokens.flatten().tolist():
        for channel, level in enumerate(LEVELS):
            token, digit = divmod(token, level)
            yield code(case, digit, channel if several else 0)


WRITERS = {
    "raster": lambda *given: [in_raster(*given)],
    "emu3": in_emu3,
    "chameleon": in_chameleon,
    "lumina": in_lumina,
    "glm": in_glm,
    "interleaved": lambda case, tokens, grid: around(case, grid, in_raster(case, tokens, grid)),
    "flattened": lambda case, tokens, grid: around(case, grid, flat(case, tokens, grid)),
    "delayed": lambda case, tokens, grid: around(case, grid, in_steps(case, tokens, grid)),
    "scales": lambda case, tokens, grid: around(case, grid, flat(case, tokens, grid)),
    "digits": lambda case, tokens, grid: around(case, grid, in_digits(case, tokens, grid)),
}
