"""What a wrong call is told: one sentence with what was got, what is allowed, and what to change."""

import pytest
import torch

from small_layouts import EOS, GRIDS, small_cases, small_vocabulary
from vistok.sequences.constraint import ImageConstraint, allow_range
from vistok.sequences.layouts import Grid, build_layout
from vistok.sequences.modality import Modality
from vistok.sequences.numbers import NumberText
from vistok.sequences.vocabulary import Vocabulary, image_vocabulary

CASES = small_cases()
EMU3 = CASES["emu3"].layout
SIZE = EMU3.vocabulary.size
IMAGE = EMU3.slots(Grid(2, 3)).first.tolist()


def refused(sentence):
    return pytest.raises(ValueError, match=f"^{sentence}$")


def constrain(ids, *arguments, size=SIZE, **options):
    return ImageConstraint(EMU3, *arguments, **options)(torch.tensor(ids), torch.zeros(len(ids), size))


@pytest.mark.parametrize("start", [1, [1, 1], None])
def test_a_prompt_that_contradicts_the_grid(start):
    for position, number, allowed in ((1, 13, "12"), (5, EOS, "50 to 56"), (8, 50, "33")):
        image = [*IMAGE[:position], number]
        sentence = (
            rf"Row 1 has the id {number} at position {position} of its image, where the layout emu3 has {allowed} for a grid "
            r"of 2 x 3: give the grid of that image, or a prompt without it\."
        )
        with refused(sentence):
            constrain([[5, *IMAGE[: position + 1]], [5, *image]], (2, 3), start=start)
    constrain([[5, *IMAGE]] * 2, (2, 3), start=start)


def test_a_prompt_with_an_image_of_a_grid_that_is_not_allowed():
    sentence = (
        r"Row 0 begins an image of a grid of 2 x 3, but the grids that are allowed are 1 x 1, 4 x 2, 11 x 1: allow its grid "
        r"too, or give a prompt without it\."
    )
    with refused(sentence):
        constrain([[5, *IMAGE[:7]]], choices=[GRIDS[0], *GRIDS[2:]])
    sentence = (
        r"Row 0 begins an image with the ids 30, 12, but the grids that are allowed are 1 x 1, 1 x 2, 1 x 3, 1 x 4: .*"
    )
    with refused(sentence):
        constrain([[5, *IMAGE[:2]]], max_grid=(1, 4))


def test_an_image_that_is_whole_may_have_any_grid():
    other = EMU3.slots(Grid(4, 2)).first.tolist()
    for allowed in ({"grid": (2, 3)}, {"choices": [(2, 3), (1, 1)]}):
        kept = constrain([[5, *other, 6, IMAGE[0]]], **allowed)
        assert (kept > -1).nonzero()[:, 1].tolist() == ([12] if "grid" in allowed else [11, 12])


def test_scores_that_do_not_hold_the_vocabulary():
    sentence = (
        r"The scores have 56 ids, but the layout emu3 needs 57: extend the model, or give the vocabulary that it was.*"
    )
    with refused(sentence):
        constrain([[5]], (2, 3), size=56)
    with refused(r"The logits have 56 ids, but must have ids up to 56: extend the model for the vocabulary\."):
        allow_range(torch.zeros(1, 56), 50, 7)
    for first, size in ((-2, 3), (2, 0)):
        with refused(
            rf"The range is of {size} ids from {first} on, but must have at least one, and begin at 0 or above\."
        ):
            allow_range(torch.zeros(1, 56), first, size)


def test_a_head_of_image_ids_alone():
    """As that of GLM-Image, which has no scores for the text that the prompt writes the grid with."""
    digits = NumberText(" ", [(40 + y, 50) for y in range(1, 4)], [(40 + x,) for x in range(1, 4)])
    image = Modality("image", (0,), 16, {"begin": 16, "end": 17, "grid_begin": 52, "grid_end": 53})
    layout = build_layout(
        "glm", Vocabulary((image, Modality("text", (20,), 40)), digits, unused=((18, 20),)), draft_side=1
    )
    constraint = ImageConstraint(layout, (2, 3), start=1, then="pad")
    slots = layout.slots(Grid(2, 3))
    header = layout.header_length(Grid(2, 3))
    prompt = torch.tensor([[30, *slots.first[:header].tolist()]])
    for length in range(len(slots.first) - header):
        allowed = constraint.allowed(torch.cat([prompt, slots.first[None, header : header + length]], dim=1), 18)
        assert allowed.sum() == slots.size[header + length]
    with refused(r"The scores have 18 ids, but the layout glm needs 54: extend the model, .*"):
        constraint.allowed(prompt[:, :2], 18)


def test_input_ids_of_the_wrong_shape():
    with refused(r"input_ids have the shape \(1, 3\), but must be b n with n of at least 4, where images begin\."):
        constrain([[5, 5, 5]], (2, 3), start=4)
    with refused(r"input_ids have the shape \(1, 0\), but must be b n with n of at least 1\."):
        constrain([[]], (2, 3))
    for what, options in (("grids", {"grid": [(2, 3), (4, 2)]}), ("starts", {"grid": (2, 3), "start": [1, 1]})):
        sentence = rf"There are 3 rows for 2 {what}, but each prompt must have as many rows: give one, or one for each prompt\."
        with refused(sentence):
            constrain([[5]] * 3, **options)


@pytest.mark.parametrize(
    ("allowed", "sentence"),
    [
        ({}, r"No grid is given, but it must be one: grid for images of a known grid, choices or max_grid when .*"),
        ({"grid": (2, 3), "max_grid": (2, 3)}, r"grid and max_grid are given, but it must be one: .*"),
        ({"grid": (0, 3)}, r"The grid is \(0, 3\), but must be Grid\(y, x\) with at least one row and one column\."),
        ({"grid": (2, 13)}, r"The grid 2 x 13 cannot be written: the vocabulary spells numbers from 1 to 12; .*"),
        ({"choices": [(2, 13)]}, r"The grid 2 x 13 cannot be written: .*"),
        ({"choices": []}, r"choices is \[\], but must be Grid\(y, x\) or a list of these\."),
        ({"grid": 8}, r"grid is 8, but must be Grid\(y, x\) or a list of these\."),
        ({"grid": [(2, 3), 4]}, r"grid is \[\(2, 3\), 4\], but must be Grid\(y, x\) or a list of these\."),
        ({"max_grid": (2.0, 3.0)}, r"max_grid is \(2\.0, 3\.0\), but must be Grid\(y, x\)\."),
        (
            {"grid": (2, 3), "start": -1},
            r"start is -1, but must be an index in input_ids from 0 on, or one for each prompt\.",
        ),
        ({"grid": (2, 3), "start": "x"}, r"start is 'x', but must be an index .*"),
        ({"grid": (2, 3), "start": True}, r"start is True, but must be an index .*"),
        ({"grid": (2, 3), "start": [1, False]}, r"start is \[1, False\], but must be an index .*"),
        (
            {"max_grid": [(3, 4), (5, 6)]},
            r"max_grid is \[\(3, 4\), \(5, 6\)\], but must be one grid: give those that are allowed as choices\.",
        ),
        ({"grid": (2, 3), "start": 1.5}, r"start is 1\.5, but must be an index .*"),
        ({"grid": (2, 3), "eos": -5}, r"eos is -5, but must be an id, from 0 on\."),
        ({"grid": (2, 3), "pad": "<pad>"}, r"pad is '<pad>', but must be an id, from 0 on\."),
        ({"grid": (2, 3), "start": []}, r"start is \[\], but must be an index .*"),
        ({"max_grid": (0, 4)}, r"No grid is allowed that the layout emu3 can write: .*"),
        (
            {"max_grid": (1000, 1000)},
            r"max_grid is 1000 x 1000, which allows more than 65536 grids: give a smaller one\.",
        ),
    ],
)
def test_grids_that_cannot_be(allowed, sentence):
    with refused(sentence):
        ImageConstraint(EMU3, **allowed)


def test_max_grid_beyond_what_the_vocabulary_spells_is_what_it_spells():
    assert len(ImageConstraint(EMU3, max_grid=(20, 20)).grids.grids) == 12 * 12


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.writes_grid])
def test_a_layout_that_does_not_write_the_grid(name):
    layout = CASES[name].layout
    sentence = (
        rf"The layout {layout.name} does not write the grid, so the model cannot choose it: give grid=Grid\(y, x\)\."
    )
    for allowed in ({"choices": GRIDS}, {"max_grid": (2, 3)}):
        with refused(sentence):
            ImageConstraint(layout, start=1, **allowed)


def test_too_many_grids_of_a_layout_that_tells_them_by_its_rows(monkeypatch):
    ImageConstraint(CASES["lumina"].layout, max_grid=(20, 20))
    monkeypatch.setattr("vistok.sequences.constraint.openings.MAX_SLOTS", 10_000)
    sentence = (
        r"The layout lumina does not begin with the grid, so all ids of the 400 grids that are allowed must be compared, but "
        r"these are more than 10000: allow fewer\."
    )
    with refused(sentence):
        ImageConstraint(CASES["lumina"].layout, max_grid=(20, 20))


def test_a_layout_without_an_id_that_begins_images():
    sentence = r"The layout raster has no id that begins an image: give start, the index in input_ids where it begins\."
    with refused(sentence):
        ImageConstraint(CASES["raster"].layout, (2, 3))


def test_what_follows_must_have_an_id():
    alone = build_layout("chameleon", image_vocabulary(6, roles=["begin", "end"]))
    with refused(r"then is 'text', but the vocabulary has images alone: leave then out, or give 'eos' or 'pad'\."):
        ImageConstraint(alone, (1, 2), then="text")
    with refused(r"then is 'eos', but the vocabulary has no end of text: give eos=ID, or then='text' or 'pad'\."):
        ImageConstraint(alone, (1, 2), then="eos")
    sentence = r"then='end' is not a known sequel of an image: choose from eos, pad, text\."
    with refused(sentence):
        ImageConstraint(EMU3, (1, 2), then="end")


def test_of_many_grids_the_first_are_named():
    with pytest.raises(ValueError) as error:
        constrain([[5, *IMAGE[:7]]], max_grid=(1, 12))
    assert "1 x 4 and 8 more: allow" in str(error.value)


def test_an_end_of_text_that_is_no_word():
    """It may lie anywhere: here behind the codes."""
    vocabulary = Vocabulary((Modality("text", (0,), 4), Modality("image", (4,), 3, {"begin": 7, "end": 8})))
    layout = build_layout("chameleon", vocabulary)
    constraint = ImageConstraint(layout, (1, 1), eos=9)
    kept = constraint(torch.tensor([[1, 7, 4, 8]]), torch.zeros(1, 10))
    with refused("The scores have 9 ids, but the layout chameleon needs 10: .*"):
        constraint(torch.tensor([[1, 7, 4, 8]]), torch.zeros(1, 9))
    assert kept[0].argmax() == 9 and (kept > -1).sum() == 1
    assert ImageConstraint(layout, (1, 1)).sequel.then == "text"
    assert small_vocabulary().size == SIZE
