"""Vocabularies are frozen: they are keys of tables, equal ones of one entry."""

from dataclasses import replace

from toy_text import toy_vocabulary
from vistok.sequences.modality import Modality
from vistok.sequences.vocabulary import Vocabulary


def test_equal_vocabularies_have_one_hash():
    one, other = toy_vocabulary(9), Vocabulary.from_dict(toy_vocabulary(9).to_dict())
    assert one is not other and one == other and hash(one) == hash(other)
    assert {one: "a"}[other] == "a"
    larger, unnamed = toy_vocabulary(10), replace(one["image"], names={})
    assert len({one, other, larger}) == 2 and len({one["image"], unnamed, Modality("image", (0,), 9)}) == 3
