"""Tokens become ids and come back exactly."""

import random

import pytest
import torch

from vistok.sequences.layouts import Grid, RasterLayout, build_layout


def test_round_trips_on_random_grids_are_exact():
    chance = random.Random(0)
    for _ in range(100):
        y, x, q = chance.randint(0, 9), chance.randint(1, 9), chance.randint(1, 4)
        vocab_size, offset = chance.choice([2, 300, 2**31]), chance.choice([0, 7, 2**40])
        layout = build_layout("raster", vocab_size, num_codebooks=q, offset=offset)
        batch = chance.choice([(), (1,), (3,)])
        tokens = torch.randint(vocab_size, (*batch, q, y, x))
        ids = layout.ids(tokens)
        assert ids.shape == (*batch, q * y * x) and ids.dtype == torch.int64
        assert torch.equal(layout.tokens(ids, Grid(y, x)), tokens)


def test_raster_is_row_by_row_with_the_codebooks_of_a_position_together():
    tokens = torch.tensor([[[0, 1], [2, 3]], [[4, 3], [2, 1]]])
    assert RasterLayout(5, offset=100).ids(tokens[:1]).tolist() == [100, 101, 102, 103]
    assert RasterLayout(5, 2, 100).ids(tokens).tolist() == [100, 109, 101, 108, 102, 107, 103, 106]
    batch = torch.stack([tokens, tokens.flip(-1)])
    assert torch.equal(RasterLayout(5, 2).ids(batch)[1], RasterLayout(5, 2).ids(tokens.flip(-1)))


GRID = torch.zeros(1, 2, 3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("tokens", "sentence"),
    [
        (GRID[0], r"^tokens have the shape \(2, 3\), but must be q y x or b q y x with q = 1\.$"),
        (GRID.expand(2, 2, 3), r"^tokens have the shape \(2, 2, 3\), but must be"),
        (GRID + 10, r"^tokens go from 10 to 10, but must be from 0 to 9\.$"),
        (GRID - 1, r"^tokens go from -1 to -1, but must be from 0 to 9\.$"),
        (GRID.float(), r"^tokens are torch.float32, but must be torch.int64: convert them\.$"),
        (GRID.short(), r"^tokens are torch.int16, but must be torch.int64: convert them\.$"),
    ],
)
def test_tokens_of_another_tokenizer_are_refused(tokens, sentence):
    with pytest.raises(ValueError, match=sentence):
        RasterLayout(10, offset=5).ids(tokens)


@pytest.mark.parametrize(
    ("ids", "grid", "sentence"),
    [
        (
            [5] * 6,
            None,
            r"^The layout raster needs a grid, which cannot be recovered from its ids: give Grid\(y, x\)\.$",
        ),
        ([5] * 5, Grid(2, 3), r"^ids have the shape \(5,\), but must be n or b n with n = 6 for a grid of 2 x 3\.$"),
        ([[[5] * 6]], Grid(2, 3), r"^ids have the shape \(1, 1, 6\), but must be n or b n"),
        ([4] * 6, Grid(2, 3), r"^ids go from 4 to 4, but must be from 5 to 14\.$"),
        ([5, 15] * 3, Grid(2, 3), r"^ids go from 5 to 15, but must be from 5 to 14\.$"),
    ],
)
def test_ids_of_another_layout_are_refused(ids, grid, sentence):
    with pytest.raises(ValueError, match=sentence):
        RasterLayout(10, offset=5).tokens(torch.tensor(ids), grid)


def test_an_id_at_the_place_of_another_codebook_is_refused():
    with pytest.raises(
        ValueError, match=r"^ids, without the first id of their codebook, go from -10 to 10, but must be"
    ):
        RasterLayout(10, 2).tokens(torch.tensor([10, 0]), Grid(1, 1))


def test_an_unknown_layout_names_the_known_ones():
    sentence = r"^name 'rasta' is not a known layout: did you mean 'raster'\? Otherwise choose from raster\.$"
    with pytest.raises(ValueError, match=sentence):
        build_layout("rasta", 10)
