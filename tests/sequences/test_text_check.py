"""A vocabulary knows the text tokenizer that it was made with: by its digest, the names of its tokens, and its numbers."""

from dataclasses import replace

import pytest

from toy_text import MARKS, Characters
from vistok.sequences.modality import Modality
from vistok.sequences.vocabulary import STRUCTURE, Vocabulary, vocabulary_for


class Digested(Characters):
    def __init__(self, special_tokens=MARKS, digest="a" * 64):
        super().__init__(special_tokens)
        self.digest = digest


def test_digest_and_names_are_kept(tmp_path):
    made = vocabulary_for(Digested(), 9, text_structure=None, max_side=4)
    assert made.text_tokenizer == "a" * 64 and made["image"].names == STRUCTURE
    made.save(tmp_path)
    assert Vocabulary.load(tmp_path) == made
    assert vocabulary_for(Characters(), 9, max_side=4).text_tokenizer is None


def test_its_own_text_tokenizer_passes_with_more_tokens_or_less():
    made = vocabulary_for(Digested(), 9, max_side=4)
    for text in (Digested(), Digested((*MARKS, "<new>")), Digested(()), Characters()):
        made.check_text(text)
    Vocabulary((Modality("image", (0,), 9),)).check_text(Digested())  # written by hand, it knows of none


@pytest.mark.parametrize("separator", [None, "*"])
def test_another_digest_is_a_sentence(separator):
    made = vocabulary_for(Digested(), 9, separator=separator, max_side=4)
    with pytest.raises(
        ValueError,
        match=r"^The vocabulary was made with another text tokenizer \(a{12}\) than the one given \(b{12}\): give that",
    ):
        made.check_text(Digested(digest="b" * 64))


def test_another_id_of_a_name_is_a_sentence():
    made = vocabulary_for(Digested(), 9, separator=None)
    sentence = (
        r"^The vocabulary has the id 128 for 'begin' of image, but '<\|image_begin\|>' has 129 in the text tokenizer: "
        "give the text tokenizer that the vocabulary was made with, or make it again.$"
    )
    with pytest.raises(ValueError, match=sentence):
        made.check_text(Digested((MARKS[1], MARKS[0], *MARKS[2:])))


def test_other_numbers_are_a_sentence():
    made = vocabulary_for(Digested(), 9, max_side=4)
    other = vocabulary_for(Shifted(), 9, max_side=4).numbers
    with pytest.raises(
        ValueError, match=r"^The vocabulary is not of this text tokenizer, which spells '1\*1' with other ids"
    ):
        replace(made, numbers=other).check_text(Digested())


class Shifted(Digested):
    def encode(self, text):
        return [ord(letter) + 1 for letter in text]
