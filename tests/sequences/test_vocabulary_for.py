"""A vocabulary is made from a text tokenizer, by the names of its tokens."""

import pytest
import torch

from toy_text import Characters
from vistok.sequences.loss_mask import kinds
from vistok.sequences.modality import Modality
from vistok.sequences.vocabulary import STRUCTURE, Vocabulary, vocabulary_for

NAMES = {"begin": "<boi>", "end": "<eoi>"}
CODES = tuple(f"<|code {code:03d}|>" for code in range(50))
NAME = "<|code {code:03d}|>"


def made(special_tokens, vocab_size=50, num_codebooks=1, structure=NAMES, **options):
    options = {"separator": None} | options
    return vocabulary_for(Characters(special_tokens), vocab_size, num_codebooks, structure, **options)


def test_images_come_behind_the_text_unless_an_offset_is_given():
    vocabulary = made(("<boi>", "<eoi>"))
    structure = {"begin": 128, "end": 129}
    assert vocabulary.modalities == (Modality("text", (0,), 130), Modality("image", (130,), 50, structure, NAMES))
    assert made(("<boi>", "<eoi>"), num_codebooks=3)["image"].offsets == (130, 180, 230)
    assert made(("<boi>", "<eoi>"), image_offset=140, unused=[(130, 140)])["image"].offsets == (140,)
    with pytest.raises(ValueError, match=r"^The vocabulary overlaps: text \(0 to 129\) and image \(100 to 149\)"):
        made(("<boi>", "<eoi>"), image_offset=100)
    with pytest.raises(ValueError, match=r"^The vocabulary has a gap: ids 130 to 139"):
        made(("<boi>", "<eoi>"), image_offset=140)


def test_documents_have_structure_of_their_own():
    vocabulary = made(("<boi>", "<eoi>", "<eos>"), text_structure={"end": "<eos>"})
    assert vocabulary["text"] == Modality("text", (0,), 131, {"end": 130}, {"end": "<eos>"})


def test_all_roles_have_names_that_are_found():
    vocabulary = vocabulary_for(Characters(), 50, max_side=9)
    assert list(vocabulary["image"].structure) == list(STRUCTURE) and vocabulary.numbers.write(3, 4) == (51, 42, 52)


def test_codes_are_found_by_name_wherever_they_are():
    behind = made(("<boi>", "<eoi>", *CODES), image_name=NAME)
    assert behind["image"].offsets == (130,) and behind["text"].size == 130 and behind.size == 180 and not behind.unused
    between = made(("<boi>", *CODES, "<pad>", "<eoi>"), image_name=lambda _, code: CODES[code])
    assert between["image"] == Modality("image", (129,), 50, {"begin": 128, "end": 180}, NAMES)
    assert between["text"].size == 129 and between.unused == ((179, 180),) and between.size == 181


class SpecialFirst(Characters):
    """Special tokens from 0 on, then the text, as in Chameleon."""

    def encode(self, text):
        return [len(self.special_tokens) + ord(letter) for letter in text]

    def id_of(self, token):
        return self.special_tokens.index(token) if token in self.special_tokens else None


def test_text_is_what_is_longest_without_the_codes():
    text = SpecialFirst(("<s>", "<pad>", *CODES, "<boi>", "<eoi>"))
    vocabulary = vocabulary_for(text, 50, 1, NAMES, image_name=NAME, separator=None)
    assert vocabulary["image"] == Modality("image", (2,), 50, {"begin": 52, "end": 53}, NAMES)
    assert vocabulary["text"] == Modality("text", (52,), 130) and vocabulary.unused == ((0, 2),)
    named = vocabulary_for(text, 50, 1, NAMES, image_name=NAME, separator=None, text_structure={"begin": "<s>"})
    assert named.unused == ((1, 2),)


class Around(Characters):
    """Letters from 0 to 63, then the special tokens, then the other letters."""

    def encode(self, text):
        return [ord(letter) + (len(self.special_tokens) if letter >= "@" else 0) for letter in text]

    def id_of(self, token):
        return 64 + self.special_tokens.index(token) if token in self.special_tokens else None


def test_text_has_all_its_pieces():
    """And only special tokens without a role are unused."""
    text = Around(("<boi>", "<eoi>", *CODES, "<pad>"))
    vocabulary = vocabulary_for(text, 50, 1, NAMES, image_name=NAME, separator=None)
    assert vocabulary["image"].offsets == (66,) and vocabulary["text"].offsets == (0,) and vocabulary["text"].size == 66
    assert vocabulary["text"].more == ((117, 181),) and vocabulary.unused == ((116, 117),) and vocabulary.size == 181
    assert Vocabulary.from_dict(vocabulary.to_dict()) == vocabulary
    kind = kinds(vocabulary, torch.tensor([*text.encode("1 Ab"), 64, 65, 66, 115]))
    assert kind.tolist() == [0, 0, 0, 0, 2, 2, 1, 1]
    with pytest.raises(
        ValueError, match="^ids have 116, which the vocabulary names as unused: make it with the text tok"
    ):
        kinds(vocabulary, torch.tensor([49, 116]))
    numbers = vocabulary_for(text, 50, 1, NAMES, image_name=NAME, separator="x", max_side=9).numbers
    assert numbers.write(3, 4) == tuple(text.encode("3x4"))  # of both pieces


def test_a_head_of_its_own_has_ids_before_the_text():
    text = SpecialFirst(("",) * 60)
    vocabulary = vocabulary_for(text, 50, 1, {}, image_offset=0, text_offset=60, unused=[(50, 60)], separator=None)
    assert vocabulary["text"] == Modality("text", (60,), 128) and vocabulary["image"].offsets == (0,)


@pytest.mark.parametrize(
    ("special", "options", "sentence"),
    [
        (
            ("<|boi|>", "<eoi>"),
            {},
            r"^The text tokenizer has no token '<boi>' for the role 'begin': did you mean '<\|boi\|>'\? Otherwise add it with "
            r"extend_tokenizer, or give the name of one that it has\.$",
        ),
        (("a mark",), {}, r"no token '<boi>' for the role 'begin': add it with extend_tokenizer, or give"),
        (
            ("<boi>",),
            {"structure": {"begin": "<boi>", "row_end": "\n"}},
            r"^The token '\\n' for the role 'row_end' is ordinary text, which a caption may contain: choose a special token\.$",
        ),
        (
            ("<boi>", "<eoi>", *CODES[:49]),
            {"image_name": NAME},
            r"^Code 49 of codebook 0, '<\|code 049\|>', has the id None, but code 0 has 130 and ids must follow in order: "
            r"add the codes again, in order\.$",
        ),
        (
            ("<boi>", "<eoi>", *CODES[1:], CODES[0]),
            {"image_name": NAME},
            r"^Code 1 of codebook 0, '<\|code 001\|>', has the id 130, but code 0 has 179",
        ),
        (
            ("<boi>", "<eoi>", *CODES),
            {"image_name": "<code {code}>"},
            r"no token '<code 0>' for code 0 of codebook 0: did you mean '<\|code 0",
        ),
        (
            ("<boi>", "<eoi>"),
            {"image_name": "<code>"},
            r"^The name of codes is '<code>', but must contain {code}, and {codebook} if there are several: give such as",
        ),
        (("<boi>", "<eoi>"), {"image_name": "{code}", "num_codebooks": 2}, r"must contain {code}, and {codebook} if"),
    ],
)
def test_tokens_that_are_not_as_named_are_refused(special, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        made(special, **options)
