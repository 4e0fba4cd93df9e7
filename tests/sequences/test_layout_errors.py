"""Layouts that cannot be built, grids that cannot be written, tokens of another tokenizer: each a sentence."""

import re

import pytest
import torch

from layout_cases import CASES, Case
from toy_text import Characters, toy_vocabulary
from vistok.sequences.layouts import Grid, build_layout
from vistok.sequences.vocabulary import image_vocabulary, vocabulary_for

ONE, THREE, SPACED = toy_vocabulary(30), toy_vocabulary(30, 3), toy_vocabulary(30, 1, " ")
SILENT = vocabulary_for(Characters(), 30, separator=None)
PARTLY = vocabulary_for(Characters(("<boi>",)), 30, structure={"begin": "<boi>"}, separator=None)


@pytest.mark.parametrize(
    ("name", "vocabulary", "options", "sentence"),
    [
        (
            "emu4",
            ONE,
            {},
            "name 'emu4' is not a known layout: did you mean 'emu3'? Otherwise choose from chameleon, delayed,",
        ),
        (
            "emu3",
            ONE,
            {"last_row": 1},
            "'last_row' is not a known option of the layout emu3: did you mean 'last_row_end'?",
        ),
        ("digits", ONE, {}, "The layout digits cannot be built: missing a required argument: 'levels'."),
        (
            "emu3",
            THREE,
            {},
            "The layout emu3 takes one codebook, but the vocabulary has 3: choose interleaved, delayed or",
        ),
        ("chameleon", THREE, {}, "The layout chameleon takes one codebook, but the vocabulary has 3"),
        ("lumina", THREE, {}, "The layout lumina takes one codebook, but the vocabulary has 3"),
        ("glm", THREE, {}, "The layout glm takes one codebook, but the vocabulary has 3"),
        ("scales", THREE, {"scales": [1]}, "The layout scales takes one codebook, but the vocabulary has 3"),
        (
            "lumina",
            PARTLY,
            {},
            "The layout lumina needs a structure id 'row_end', but the vocabulary's image has begin: add it to the vocabulary, "
            "or choose another layout.",
        ),
        (
            "delayed",
            image_vocabulary(9),
            {"frame": "none"},
            "The layout delayed needs a structure id 'pad', but the vocabulary's",
        ),
        (
            "raster",
            vocabulary_for(Characters(), 30).__class__(ONE.modalities[:1]),
            {},
            "'image' is not a known modality",
        ),
        (
            "emu3",
            SPACED,
            {},
            "The layout emu3 writes the grid as text with the separator '*', but the vocabulary has numbers with ' ': make it "
            "so with vocabulary_for.",
        ),
        (
            "glm",
            ONE,
            {},
            "The layout glm writes the grid as text with the separator ' ', but the vocabulary has numbers with '*'",
        ),
        (
            "interleaved",
            SILENT,
            {},
            "The layout interleaved writes the grid as text with the separator '*', but the vocabulary has no",
        ),
        (
            "flattened",
            ONE,
            {"frame": "end"},
            "'end' is not a known frame: did you mean 'ends'? Otherwise choose from ends, grid,",
        ),
        (
            "scales",
            ONE,
            {"scales": [1], "grid": (1, 1)},
            "The layout scales writes the grid of each image, so that it takes no grid",
        ),
        (
            "scales",
            ONE,
            {"scales": [2, 1]},
            "scales are [2, 1], but must be those of the quantizer, from 1 on and rising.",
        ),
        ("scales", ONE, {"scales": []}, "scales are [], but must be"),
        ("digits", ONE, {"levels": [8, 1]}, "levels are [8, 1], but must be those of the quantizer, each 2 or more."),
        ("digits", ONE, {"levels": [8] * 21}, "levels are [8, 8"),
        (
            "digits",
            toy_vocabulary(7),
            {"levels": [8, 5]},
            "The vocabulary has 1 times 7 image ids, but the layout digits needs 8 for levels [8, 5], once or 2 times: make it "
            "with vocab_size=8.",
        ),
        ("digits", THREE, {"levels": [8, 5]}, "The vocabulary has 3 times 30 image ids, but the layout digits needs 8"),
        (
            "glm",
            SPACED,
            {"draft_side": -1},
            "draft_side is -1, but must be the side of the draft of a square image, or 0",
        ),
        (
            "raster",
            ONE,
            {"grid": (3, 0)},
            "The grid is (3, 0), but must be Grid(y, x) with at least one row and one column.",
        ),
    ],
)
def test_layouts_that_cannot_be_built(name, vocabulary, options, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        build_layout(name, vocabulary, **options)


@pytest.mark.parametrize("grid", [(0, 3), (3,), (-1, 3), (3, 2.5), "33"])
def test_grids_that_are_none(grid):
    sentence = (
        rf"^The grid is {re.escape(repr(grid))}, but must be Grid\(y, x\) with at least one row and one column\.$"
    )
    with pytest.raises(ValueError, match=sentence):
        CASES["lumina"].layout().length(grid)


def test_grids_that_cannot_be_written():
    sentence = (
        r"^The grid 65 x 1 cannot be written: the vocabulary spells numbers from 1 to 64; make it with a higher max"
    )
    with pytest.raises(ValueError, match=sentence):
        CASES["emu3"].layout().ids(torch.zeros(1, 65, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"^The grid is \(1, 0\), but must be"):
        CASES["emu3"].layout().ids(torch.zeros(1, 1, 0, dtype=torch.int64))


def test_a_grid_that_all_images_have():
    layout = build_layout("chameleon", ONE, grid=(2, 3))
    tokens = torch.randint(30, (1, 2, 3))
    assert torch.equal(layout.tokens(layout.ids(tokens)), tokens)
    with pytest.raises(
        ValueError, match=r"^The layout chameleon is built for the grid 2 x 3, but the image has 3 x 2: resize it\.$"
    ):
        layout.ids(tokens.mT)


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
