"""Each id of a document is text, an image code or structure."""

import pytest
import torch

from layout_cases import CASES, draw
from toy_text import Characters, toy_vocabulary
from vistok.sequences.layouts import Grid
from vistok.sequences.loss_mask import KINDS, kinds, loss_mask
from vistok.sequences.vocabulary import image_vocabulary, vocabulary_for


def text(words):
    return torch.tensor([ord(letter) for letter in words], dtype=torch.int64)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_kinds_are_those_of_the_slots_and_text_is_around(case):
    layout, grid = case.layout(), Grid(*case.grids[2])
    ids = layout.ids(draw(case, grid), grid)
    document = torch.cat([text("4*5 2"), ids, text("3*"), ids, ids, text("12*4")])
    slots = (layout.slots(grid).source < 0).int() + 1
    expected = torch.cat([torch.zeros(5), slots, torch.zeros(2), slots, slots, torch.zeros(4)])
    for given in (document, document.expand(2, 3, -1)):
        assert torch.equal(kinds(case.vocabulary, given), expected.to(torch.uint8).expand_as(given))
    for name in KINDS:
        assert torch.equal(loss_mask(case.vocabulary, document, {name}), expected == KINDS.index(name))
    assert torch.equal(loss_mask(case.vocabulary, document, ["image", "structure"]), expected > 0)
    assert loss_mask(case.vocabulary, document).all() and not loss_mask(case.vocabulary, document, ()).any()


def test_numbers_are_structure_only_where_a_whole_grid_is_spelled():
    vocabulary = toy_vocabulary(30)
    begin, mark = (vocabulary["image"].structure[role] for role in ("begin", "image"))
    ids = torch.cat(
        [torch.tensor([begin]), text("12*3"), torch.tensor([mark]), text("4*5"), torch.tensor([mark, begin]), text("6")]
    )
    assert kinds(vocabulary, ids).tolist() == [2, 2, 2, 2, 2, 2, 0, 0, 0, 2, 2, 0]
    long = torch.cat([torch.tensor([begin]), text("a caption without end"), torch.tensor([mark])])
    assert kinds(vocabulary, long).tolist() == [2, *[0] * 21, 2]


def test_the_ends_of_documents_are_text():
    vocabulary = vocabulary_for(Characters(("<eos>",)), 30, 1, {}, text_structure={"end": "<eos>"}, separator=None)
    assert kinds(vocabulary, torch.tensor([65, 128, 129])).tolist() == [0, 0, 1]


def test_a_vocabulary_of_images_alone_and_no_ids():
    vocabulary = image_vocabulary(5, 2, ("begin",))
    assert kinds(vocabulary, torch.tensor([10, 0, 9])).tolist() == [2, 1, 1]
    assert kinds(vocabulary, torch.zeros(2, 0, dtype=torch.int64)).shape == (2, 0)


def test_wrong_ids_and_names_are_refused():
    vocabulary = toy_vocabulary(30)
    with pytest.raises(ValueError, match=r"^ids go from 3 to 166, but must be from 0 to 165\.$"):
        kinds(vocabulary, torch.tensor([3, 166]))
    sentence = (
        r"^'images' is not a known kind of ids: did you mean 'image'\? Otherwise choose from image, structure, text\.$"
    )
    with pytest.raises(ValueError, match=sentence):
        loss_mask(vocabulary, torch.tensor([3]), ["images"])
