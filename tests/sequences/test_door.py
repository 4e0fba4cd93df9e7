"""A layout that somebody defines outside the package is found by its name, and is exact."""

import pytest
import torch

from vistok.sequences.layouts import LAYOUTS, Grid, Layout, Slots, build_layout
from vistok.sequences.vocabulary import image_vocabulary


class Backwards(Layout):
    """From the last token to the first; every image has one row."""

    def __init__(self, vocabulary, step=1):
        super().__init__("backwards", vocabulary)
        self.step = step

    def plan(self, grid):
        source = torch.arange(grid.y * grid.x).flip(0)
        return Slots(torch.full_like(source, self.image.offsets[0]), torch.full_like(source, self.image.size), source)

    def read_grid(self, ids):
        return Grid(1, len(ids))


def test_a_layout_from_outside_is_found_and_is_exact(monkeypatch):
    monkeypatch.setitem(LAYOUTS, "backwards", Backwards)
    layout = build_layout("backwards", image_vocabulary(1000), step=2)
    assert layout.step == 2 and layout.ids(torch.arange(5).reshape(1, 1, 5)).tolist() == [4, 3, 2, 1, 0]
    tokens = torch.randint(1000, (4, 1, 1, 9))
    assert torch.equal(layout.tokens(layout.ids(tokens)), tokens)
    assert torch.equal(layout.tokens(layout.ids(tokens.mT), Grid(9, 1)), tokens.mT)
    with pytest.raises(
        ValueError, match=r"^'steps' is not a known option of the layout backwards: did you mean 'step'\?"
    ):
        build_layout("backwards", image_vocabulary(1000), steps=2)
