"""Tokens of another tokenizer, and ids of another layout: each a sentence."""

import re

import pytest
import torch

from layout_cases import CASES, Case
from toy_text import toy_vocabulary
from vistok.sequences.layouts import Grid

ONE = toy_vocabulary(30)
GRID = torch.zeros(1, 2, 3, dtype=torch.int64)
SEVERAL = CASES["scales"]


@pytest.mark.parametrize(
    ("case", "tokens", "grid", "sentence"),
    [
        ("emu3", GRID[0], None, "tokens have the shape (2, 3), but must be q y x or b q y x with q = 1."),
        ("emu3", GRID.expand(2, 2, 3), None, "tokens have the shape (2, 2, 3), but must be"),
        (
            "digits",
            GRID.expand(3, 2, 3),
            None,
            "tokens have the shape (3, 2, 3), but must be q y x or b q y x with q = 1.",
        ),
        ("emu3", GRID + 30, None, "tokens go from 30 to 30, but must be from 0 to 29."),
        ("emu3", GRID - 1, None, "tokens go from -1 to -1, but must be from 0 to 29."),
        ("digits", GRID + 120, None, "tokens go from 120 to 120, but must be from 0 to 119."),
        ("emu3", GRID.float(), None, "tokens are torch.float32, but must be torch.int64: convert them."),
        ("emu3", GRID.short(), None, "tokens are torch.int16, but must be torch.int64: convert them."),
        ("emu3", GRID, Grid(3, 2), "tokens have the grid 2 x 3, but the grid given is 3 x 2: give theirs."),
        (
            "glm",
            GRID[:, :1],
            None,
            "tokens of shape (1, 1, 3) hold a draft before the full grid, so that they do not tell it: give",
        ),
        ("glm", GRID, Grid(2, 3), "tokens have the shape (1, 2, 3), but must be 1 1 n or b 1 1 n."),
        ("glm", GRID[:, :1] + 30, Grid(1, 1), "tokens go from 30 to 30"),
        (
            "glm",
            GRID[:, :1],
            Grid(1, 1),
            "tokens have the shape (1, 1, 3), but the layout glm needs 257 for the grid 1 x 1.",
        ),
        (
            "scales",
            GRID,
            None,
            "tokens have the shape (1, 2, 3), but must be 1 1 n or 1 n 1, or a batch of these, with all scales [1",
        ),
        ("scales", GRID[:, :1, :2], Grid(3, 3), "tokens have the shape (1, 1, 2), but must be"),
        (
            "scales",
            torch.zeros(1, 1, 14, dtype=torch.int64),
            Grid(6, 6),
            "tokens have the grid 3 x 3, but the grid given is 6 x 6",
        ),
        ("scales", torch.full((1, 1, 14), 30), None, "tokens go from 30 to 30"),
    ],
)
def test_tokens_of_another_tokenizer_are_refused(case, tokens, grid, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        CASES[case].layout().ids(tokens, grid)


@pytest.mark.parametrize(
    "case", [case for case in CASES.values() if not case.reads_grid], ids=lambda case: str(case[2])
)
def test_a_grid_that_ids_do_not_tell_is_asked_for(case: Case):
    sentence = (
        rf"^The layout {case.name} needs a grid, which cannot be recovered from its ids: give Grid\(y, x\), or build it with "
        r"grid=\(y, x\)\.$"
    )
    with pytest.raises(ValueError, match=sentence):
        case.layout().tokens(torch.zeros(5, dtype=torch.int64))


BEGIN, MARK, ROW_END, END = (ONE["image"].structure[role] for role in ("begin", "image", "row_end", "end"))
NO_GRID = "ids do not begin with a grid as the layout emu3 writes it, '4*5' between the ids 128 and 129: give those of"
NO_ROWS = (
    f"ids do not have rows as the layout lumina writes them, each with {ROW_END} at its end, between {BEGIN} and {END}"
)


@pytest.mark.parametrize(
    ("case", "ids", "sentence"),
    [
        ("emu3", [], NO_GRID),
        ("emu3", [BEGIN], NO_GRID),
        ("emu3", [BEGIN, MARK], NO_GRID),
        ("emu3", [BEGIN, 52, 42, MARK], NO_GRID),
        ("emu3", [BEGIN, 48, 42, 53, MARK], NO_GRID),
        ("emu3", [BEGIN, 52, 42, 53], NO_GRID),
        ("emu3", [52, 42, 53, MARK], NO_GRID),
        (
            "emu3",
            [BEGIN, 52, 42, 53, MARK, 136],
            "ids end after 6, but the layout emu3 has 31 for a grid of 4 x 5: the sequence is",
        ),
        ("lumina", [], NO_ROWS),
        ("lumina", [BEGIN, 140, ROW_END], NO_ROWS),
        ("lumina", [BEGIN, ROW_END, END], NO_ROWS),
        ("lumina", [BEGIN, 140, END], NO_ROWS),
        ("lumina", [140, 140, ROW_END, END], NO_ROWS),
        ("lumina", [BEGIN, 140, ROW_END, 140, END], NO_ROWS),
        (
            "lumina",
            [BEGIN, 140, ROW_END, 140, 140, END],
            "ids have 140 at position 4, where the layout lumina of a grid of 2 x 1 has",
        ),
        ("scales", [BEGIN, 52, 42, 53], "ids do not begin with a grid as the layout scales writes it"),
        (
            "glm",
            [133, 52, 32, 53],
            "ids do not begin with a grid as the layout glm writes it, '4 5' between the ids 133 and 134",
        ),
    ],
)
def test_ids_that_hold_no_grid_or_contradict_it(case, ids, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        CASES[case].layout().tokens(torch.tensor(ids, dtype=torch.int64))


@pytest.mark.parametrize(
    ("ids", "grid", "sentence"),
    [
        (
            torch.zeros(2, dtype=torch.int32),
            None,
            r"^ids are torch\.int32 of shape \(2,\), but must be torch\.int64 of n or b n\.$",
        ),
        (torch.zeros(1, 1, 2, dtype=torch.int64), None, r"^ids are torch\.int64 of shape \(1, 1, 2\), but must be"),
        (
            torch.zeros(0, 2, dtype=torch.int64),
            None,
            r"^ids are of no image, so that they do not tell the grid: give Grid\(y, x\)\.$",
        ),
    ],
)
def test_ids_of_another_shape_are_refused(ids, grid, sentence):
    with pytest.raises(ValueError, match=sentence):
        CASES["emu3"].layout().tokens(ids, grid)
