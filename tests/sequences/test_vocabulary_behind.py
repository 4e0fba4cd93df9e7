"""A text tokenizer that takes no tokens: the vocabulary numbers and names the new ones."""

import pytest

from toy_text import Characters
from vistok.sequences.layouts import build_layout
from vistok.sequences.modality import Modality
from vistok.sequences.vocabulary import STRUCTURE, Vocabulary, vocabulary_for
from vistok.sequences.vocabulary_behind import vocabulary_behind


def test_codes_then_structure_follow_the_text(tmp_path):
    made = vocabulary_behind(Characters(("<eos>",)), 50, 2, text_structure={"end": "<eos>"}, max_side=20)
    ids = {role: 129 + 2 * 50 + index for index, role in enumerate(STRUCTURE)}
    assert made["text"] == Modality("text", (0,), 129, {"end": 128}, {"end": "<eos>"})
    assert made["image"] == Modality("image", (129, 179), 50, ids, STRUCTURE)
    assert made.size == 129 + 100 + len(STRUCTURE) and not made.unused
    made.save(tmp_path)
    assert Vocabulary.load(tmp_path) == made
    made.check_text(Characters(("<eos>",)))


def test_tokens_that_it_has_keep_their_ids():
    names = {"begin": "<new>", "end": "<eoi>"}
    made = vocabulary_behind(Characters(("<boi>", "<eoi>")), 50, structure=names, separator=None)
    assert made["image"].structure == {"begin": 180, "end": 129}
    with pytest.raises(ValueError, match=r"^The token 'a' for the role 'begin' is ordinary text"):
        vocabulary_behind(Characters(()), 50, structure={"begin": "a"}, separator=None)


@pytest.mark.parametrize("layout", ["emu3", "chameleon", "lumina", "interleaved"])
def test_layouts_are_those_of_a_tokenizer_that_was_extended(layout):
    """The ids of an image differ by where the codes and marks are, and by nothing else."""
    import torch

    tokens = torch.arange(6).reshape(1, 2, 3)
    behind = build_layout(layout, vocabulary_behind(Characters(()), 50, max_side=9)).ids(tokens)
    inside = build_layout(layout, vocabulary_for(Characters(), 50, max_side=9)).ids(tokens)
    to_behind = {128 + index: 178 + index for index in range(8)} | {136 + code: 128 + code for code in range(50)}
    assert behind.tolist() == [to_behind.get(number, number) for number in inside.tolist()]
