"""A grid is spelled as the text tokenizer spells it, and read back."""

import pytest
import torch

from toy_text import Characters, Pieces
from vistok.sequences.numbers import NumberText, number_text

TOKENIZERS = {
    "digits": (Characters(), "*"),
    "digits, space": (Characters(), " "),
    "groups of three": (Pieces(r"\d{1,3}|."), "*"),
    "whole numbers": (Pieces(r"\d+|."), "*"),
    "space before": (Pieces(r" ?\d+|."), " "),
    "space before, digits": (Pieces(r" ?\d|."), " "),
    "star before": (Pieces(r"\*\d|."), "*"),
    "star behind": (Pieces(r"\d\*|."), "*"),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_grids_are_spelled_as_the_tokenizer_does_and_read_back(name):
    text, separator = TOKENIZERS[name]
    most = 1100 if name in ("digits", "groups of three") else 150
    numbers = number_text(text, separator, most)
    generator = torch.Generator().manual_seed(0)
    for y, x in [*torch.randint(1, most + 1, (300, 2), generator=generator).tolist(), (1, 1), (most, most)]:
        ids = numbers.write(y, x)
        assert list(ids) == text.encode(f"{y}{separator}{x}")
        assert numbers.read(ids) == numbers.read(list(ids)) == (y, x)
        assert numbers.read(ids[:-1]) != (y, x) and numbers.read((*ids, ids[0])) != (y, x)
        assert len(ids) <= numbers.max_length


@pytest.mark.parametrize("ids", [[], [0], [42], [42, 52], [52, 42], [52, 52], [52, 42, 48], [52, 42, 42, 52]])
def test_what_spells_no_grid_is_none(ids):
    assert number_text(Characters(), "*", 9).read(ids) is None


def test_a_grid_that_is_too_large_is_refused():
    sentence = r"^The grid 3 x 10 cannot be written: the vocabulary spells numbers from 1 to 9; make it with a higher"
    with pytest.raises(ValueError, match=sentence):
        number_text(Characters(), "*", 9).write(3, 10)


def test_numbers_that_join_across_the_separator_are_refused():
    sentence = (
        r"^The text tokenizer spells '12\*48' with other ids than its numbers: choose another separator, or None for "
        r"layouts that write no grid\.$"
    )
    with pytest.raises(ValueError, match=sentence):
        number_text(Pieces(r"12\*48|."), "*", 64)


class Spelled(Characters):
    def __init__(self, spell):
        super().__init__()
        self.encode = spell


@pytest.mark.parametrize(
    ("spell", "sentence"),
    [
        (lambda text: [min(ord(letter), 55) for letter in text], "Two numbers of a grid have the same ids"),
        (lambda text: [ord(letter) for letter in text.partition("*")[2]], "Two numbers of a grid have the same ids"),
        (lambda text: [ord(letter) for letter in text if letter != "*"], "Two grids have the same ids"),
    ],
)
def test_spellings_that_cannot_be_read_back_are_refused(spell, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}: choose another separator, or None\\.$"):
        number_text(Spelled(spell), "*", 12)


def test_a_number_of_no_id_is_refused():
    with pytest.raises(
        ValueError, match=r"^A number of a grid has no ids of its own: choose another separator, or None"
    ):
        NumberText("*", [(), (1,)], [(2,), (3,)])


def test_spellings_that_begin_alike_are_told_apart_where_that_is_possible():
    assert NumberText("*", [(1,), (1, 2)], [(3,), (4, 2)]).read([1, 2, 3]) == (2, 1)
    with pytest.raises(ValueError, match="^Two grids have the same ids"):
        NumberText("*", [(1,), (1, 2)], [(3,), (2, 3)])
