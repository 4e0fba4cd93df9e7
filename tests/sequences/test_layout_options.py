"""Layouts that cannot be built, and grids that they cannot write: each a sentence."""

import re

import pytest
import torch

from layout_cases import CASES
from toy_text import Characters, toy_vocabulary
from vistok.sequences.layouts import build_layout
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
            "The layout lumina needs a structure id 'row_end', but the vocabulary's image has begin: add it to the vocabulary "
            "(extend_tokenizer does, and pack-sequences --extend), or choose another layout.",
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
        ("scales", ONE, {"scales": 3}, "scales are 3, but must be those of the quantizer, from 1 on and rising."),
        (
            "scales",
            ONE,
            {"scales": "1,2"},
            "scales are '1,2', but must be those of the quantizer, from 1 on and rising.",
        ),
        ("digits", ONE, {"levels": 5}, "levels are 5, but must be those of the quantizer, each 2 or more."),
        ("digits", ONE, {"levels": "8,5"}, "levels are '8,5', but must be those of the quantizer, each 2 or more."),
        ("emu3", ONE, {"last_row_end": "False"}, "last_row_end is 'False', but must be true or false."),
        ("raster", ONE, {"grid": 32}, "The grid is 32, but must be Grid(y, x) with at least one row and one column."),
        ("raster", ONE, {"grid": "4x5"}, "The grid is '4x5', but must be Grid(y, x) with at least one row"),
        ("interleaved", ONE, {"frame": True}, "True is not a known frame: choose from ends, grid, none."),
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
        ("lumina", ONE, {"gird": (2, 3)}, "The layout lumina has no options, but got 'gird': leave it out."),
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
