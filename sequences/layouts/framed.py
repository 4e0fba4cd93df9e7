"""A layout of codes in some order, between what comes before and after."""

from collections.abc import Callable

from torch import Tensor

from ..vocabulary import Vocabulary
from .base import Layout
from .content import Content
from .frame import Frame
from .slots import Grid, Slots, joined, structure


class FramedLayout(Layout):
    """Codes, which a function of the grid orders, in a frame."""

    def __init__(
        self,
        name: str,
        vocabulary: Vocabulary,
        frame: Frame,
        codes: Callable[[Grid], Slots],
        content: Content | None = None,
    ):
        super().__init__(name, vocabulary, content)
        self.frame = frame
        self.codes = codes

    def plan(self, grid: Grid) -> Slots:
        return joined([structure(self.frame.before(grid)), self.codes(grid), structure(self.frame.after())])

    def read_grid(self, ids: Tensor) -> Grid:
        return self.frame.read(ids)


def check_one_codebook(layout: str, vocabulary: Vocabulary) -> None:
    """Raise ValueError when images have several codebooks."""
    count = vocabulary["image"].num_codebooks
    if count != 1:
        raise ValueError(
            f"The layout {layout} takes one codebook, but the vocabulary has {count}: choose interleaved, delayed or flattened."
        )
