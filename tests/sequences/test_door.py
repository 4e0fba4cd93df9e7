"""A layout that somebody defines outside the package is found by its name, and is exact."""

import pytest
import torch

from vistok.sequences.layouts import LAYOUTS, Grid, Layout, build_layout


class Snake(Layout):
    """Every other row runs backwards, and the first two ids are the rows and columns of the grid."""

    def __init__(self, vocab_size):
        self.vocab_size = vocab_size

    def ids(self, tokens):
        q, y, x = tokens.shape
        assert q == 1
        return torch.cat([torch.tensor([y, x]), _turned(tokens[0]).flatten()])

    def tokens(self, ids, grid=None):
        y, x = grid or ids[:2].tolist()
        return _turned(ids[2:].reshape(y, x))[None]


def _turned(rows):
    turned = rows.clone()
    turned[1::2] = rows[1::2].flip(-1)
    return turned


@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (5, 4)])
def test_a_layout_from_outside_is_found_and_is_exact(grid, monkeypatch):
    monkeypatch.setitem(LAYOUTS, "snake", Snake)
    layout = build_layout("snake", 1000)
    tokens = torch.randint(1000, (1, *grid))
    ids = layout.ids(tokens)
    assert torch.equal(layout.tokens(ids), tokens)
    assert torch.equal(layout.tokens(ids, Grid(*grid)), tokens)
    assert build_layout("snake", 9).ids(torch.arange(6).reshape(1, 2, 3)).tolist() == [2, 3, 0, 1, 2, 5, 4, 3]
