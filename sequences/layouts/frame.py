"""What comes before and after the codes of an image, and whether it tells the grid."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, TypeAlias

from torch import Tensor

from ...tokenizer.wording import unknown_choice
from ..numbers import NumberText
from ..vocabulary import Vocabulary
from .slots import Grid, check_grid

FrameName: TypeAlias = Literal["grid", "ends", "none"]
FRAMES = ("grid", "ends", "none")


class Frame(ABC):
    """The ids around the codes."""

    @abstractmethod
    def before(self, grid: Grid) -> Sequence[int]:
        """Return the ids before the codes."""

    @abstractmethod
    def after(self) -> Sequence[int]:
        """Return the ids after the codes."""

    @abstractmethod
    def read(self, ids: Tensor) -> Grid:
        """Return the grid of ids `n` that begin with an image; raise ValueError when it cannot be read."""


class FixedFrame(Frame):
    """Ids that do not depend on the grid, which is given for all images or for none."""

    def __init__(self, layout: str, before: Sequence[int], after: Sequence[int], grid: tuple[int, int] | None):
        self.layout = layout
        self._before, self._after = tuple(before), tuple(after)
        self.grid = None if grid is None else check_grid(tuple(grid) if isinstance(grid, list) else grid)

    def before(self, grid: Grid) -> Sequence[int]:
        if self.grid not in (None, grid):
            raise ValueError(
                f"The layout {self.layout} is built for the grid {self.grid}, but the image has {grid}: resize it."
            )
        return self._before

    def after(self) -> Sequence[int]:
        return self._after

    def read(self, _ids: Tensor) -> Grid:
        if self.grid is None:
            raise ValueError(
                f"The layout {self.layout} needs a grid, which cannot be recovered from its ids: give Grid(y, x), or build it "
                "with grid=(y, x)."
            )
        return self.grid


class GridFrame(Frame):
    """The begin of an image, its rows and columns as text, and a mark before the codes."""

    def __init__(self, layout: str, vocabulary: Vocabulary, after: Sequence[int], separator: str | None = None):
        image = vocabulary["image"]
        self.layout = layout
        self.numbers = numbers_of(layout, vocabulary, separator)
        self.begin, self.mark = (image.structure_id(role, layout) for role in ("begin", "image"))
        self._after = tuple(after)

    def before(self, grid: Grid) -> Sequence[int]:
        return (self.begin, *self.numbers.write(*grid), self.mark)

    def after(self) -> Sequence[int]:
        return self._after

    def read(self, ids: Tensor) -> Grid:
        return read_number(self.layout, self.numbers, self.begin, self.mark, ids)


def read_number(layout: str, numbers: NumberText, begin: int, end: int, ids: Tensor) -> Grid:
    """Return the grid that is spelled from `begin` to `end` at the beginning of ids."""
    start = ids[: numbers.max_length + 2].tolist()
    grid = numbers.read(start[1 : start.index(end)]) if start[:1] == [begin] and end in start else None
    if grid is None:
        sides = f"4{numbers.separator}5"
        raise ValueError(
            f"ids do not begin with a grid as the layout {layout} writes it, {sides!r} between the ids {begin} and {end}: give "
            "those of one image from its begin on."
        )
    return Grid(*grid)


def numbers_of(layout: str, vocabulary: Vocabulary, separator: str | None) -> NumberText:
    """Return how the vocabulary spells grids; raise ValueError when it does not, or with another separator."""
    numbers = vocabulary.numbers
    if numbers is None or separator not in (None, numbers.separator):
        wanted = f"with the separator {separator or '*'!r}"
        has = "no numbers" if numbers is None else f"numbers with {numbers.separator!r}"
        raise ValueError(
            f"The layout {layout} writes the grid as text {wanted}, but the vocabulary has {has}: make it so with "
            "vocabulary_for."
        )
    return numbers


def build_frame(layout: str, vocabulary: Vocabulary, frame: str, grid: tuple[int, int] | None) -> Frame:
    """Return a frame by its name: "grid" tells the grid, "ends" has begin and end alone, "none" has nothing."""
    if frame not in FRAMES:
        raise ValueError(unknown_choice("frame", repr(frame), str(frame), FRAMES))
    if frame == "none":
        return FixedFrame(layout, (), (), grid)
    image = vocabulary["image"]
    end = [image.structure_id("end", layout)]
    if frame == "ends":
        return FixedFrame(layout, [image.structure_id("begin", layout)], end, grid)
    if grid is not None:
        raise ValueError(f"The layout {layout} writes the grid of each image, so that it takes no grid: leave it out.")
    return GridFrame(layout, vocabulary, end)
