"""Which grids the caller allows."""

from collections.abc import Sequence
from typing import TypeAlias

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
            f"{' and '.join(given) or 'Nothing'} is given, but it must be one: grid for images of a known grid, choices or "
            "max_grid when the model writes it."
        )
    if grid is not None:
        several = not all(isinstance(side, int) for side in grid)
        return FixedGrids(layout, [Grid(*each) for each in (grid if several else [grid])])  # type: ignore[misc]
    if choices is not None:
        return ChosenGrids(layout, [Grid(*each) for each in choices])
    rows, columns = max_grid or (0, 0)
    if rows * columns > MAX_GRIDS:
        raise ValueError(
            f"max_grid is {rows} x {columns}, which allows more than {MAX_GRIDS} grids: give a smaller one."
        )
    every = (Grid(y, x) for y in range(1, rows + 1) for x in range(1, columns + 1))
    return ChosenGrids(layout, every, skip=True)
