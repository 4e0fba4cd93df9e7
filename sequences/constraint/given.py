"""Which grids the caller allows."""

from collections.abc import Sequence
from operator import index
from typing import Any, TypeAlias

from ...tokenizer.wording import shown
from ..layouts import Grid, Layout
from .chosen import ChosenGrids
from .fixed import FixedGrids

MAX_GRIDS = 2**16
GridOrGrids: TypeAlias = tuple[int, int] | Sequence[tuple[int, int]]


def read_grids(
    layout: Layout,
    grid: GridOrGrids | None,
    choices: Sequence[tuple[int, int]] | None,
    max_grid: tuple[int, int] | None,
) -> FixedGrids | ChosenGrids:
    """Return the grids that one of the arguments allows; raise ValueError unless exactly one is given."""
    given = [
        name for name, value in (("grid", grid), ("choices", choices), ("max_grid", max_grid)) if value is not None
    ]
    if len(given) != 1:
        raise ValueError(
            f"{' and '.join(given) + ' are' if given else 'No grid is'} given, but it must be one: grid for images of a known "
            "grid, choices or max_grid when the model writes it."
        )
    if grid is not None:
        return FixedGrids(layout, _as_grids("grid", grid))
    if choices is not None:
        return ChosenGrids(layout, _as_grids("choices", choices))
    grids = _as_grids("max_grid", max_grid)
    if len(grids) > 1:
        raise ValueError(
            f"max_grid is {shown(max_grid)}, but must be one grid: give those that are allowed as choices."
        )
    rows, columns = grids[0]
    if rows * columns > MAX_GRIDS:
        raise ValueError(
            f"max_grid is {rows} x {columns}, which allows more than {MAX_GRIDS} grids: give a smaller one."
        )
    every = (Grid(y, x) for y in range(1, rows + 1) for x in range(1, columns + 1))
    return ChosenGrids(layout, every, skip=True)


def read_starts(start: int | Sequence[int] | None) -> tuple[int, ...] | None:
    """Return where images begin: an index for all prompts, or one for each; raise ValueError when one is below 0."""
    if start is None:
        return None
    try:
        given = (start,) if isinstance(start, int) else tuple(start)
        starts = () if any(isinstance(each, bool) for each in given) else tuple(map(index, given))
    except TypeError:
        starts = ()
    if not starts or min(starts) < 0:
        raise ValueError(
            f"start is {shown(start)}, but must be an index in input_ids from 0 on, or one for each prompt."
        )
    return starts


def _as_grids(name: str, value: Any) -> list[Grid]:
    """Return a grid or several as a list; raise ValueError for what is neither."""
    try:
        sides = tuple(value)
        single = all(isinstance(side, int) for side in sides)
        grids = [Grid(*map(index, each)) for each in ((sides,) if single and sides else sides)]
    except TypeError:
        grids = []
    if not grids:
        raise ValueError(
            f"{name} is {shown(value)}, but must be Grid(y, x){'' if name == 'max_grid' else ' or a list of these'}."
        )
    return grids
