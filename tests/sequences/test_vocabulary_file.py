"""A vocabulary is the same after it was saved, and a file that is none says why."""

import json

import pytest

from toy_text import plain_vocabulary, toy_vocabulary
from vistok.sequences.vocabulary import Vocabulary, image_vocabulary


@pytest.mark.parametrize(
    "vocabulary",
    [
        toy_vocabulary(1000),
        toy_vocabulary(10, 4, " "),
        image_vocabulary(5),
        plain_vocabulary(("image", (0,), 10), ("text", (16,), 84), unused=[(10, 16)]),
        plain_vocabulary(("text", (0,), 9, {"end": 8}, {"end": "[ a  b ]"}), ("image", (9,), 5)),  # a name, no list
    ],
)
def test_a_vocabulary_is_the_same_after_it_was_saved(vocabulary, tmp_path):
    path = vocabulary.save(tmp_path / "new" / "folder")
    assert path.name == "vocabulary.json" and [file.name for file in path.parent.iterdir()] == ["vocabulary.json"]
    for given in (path, path.parent, str(path)):
        assert Vocabulary.load(given) == vocabulary
    assert Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict()))) == vocabulary
    assert json.loads(path.read_text()) == vocabulary.to_dict()
    assert len(path.read_text().splitlines()) < 60 + 2 * 64  # for people, too


GOOD = image_vocabulary(5).to_dict()
PART = GOOD["modalities"][0]
NUMBERS = {"separator": "*", "heads": [[1]], "tails": [[2]]}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([], r"the vocabulary is \[\], but must be an object\.$"),
        ({}, r"the vocabulary has no modalities: write it again with Vocabulary\.save\.$"),
        (
            GOOD | {"offset": 5},
            r"'offset' is not a known key of the vocabulary: choose from modalities, numbers, text_tokenizer, unused\.$",
        ),
        (GOOD | {"modalities": {}}, r"modalities is {}, but must be a list\.$"),
        (
            GOOD | {"modalities": [PART | {"sise": 5}]},
            r"'sise' is not a known key of a modality: did you mean 'size'\?",
        ),
        (GOOD | {"modalities": [PART | {"offsets": 5}]}, r"offsets is 5, but must be a list\.$"),
        (GOOD | {"modalities": [PART | {"size": "5"}]}, r"The size of image is '5', but must be a number"),
        (GOOD | {"modalities": [PART | {"structure": [5]}]}, r"structure is \[5\], but must map roles to ids\.$"),
        (GOOD | {"modalities": [PART | {"more": [[3, 3]]}]}, r"more has \[3, 3\], but must have pairs of a first id"),
        (GOOD | {"modalities": [PART | {"names": []}]}, r"names is \[\], but must map roles to names of tokens\.$"),
        (
            GOOD | {"modalities": [PART | {"names": {"end": "<e>"}}]},
            r"image has a name of 'end', but no id of this role: give both, or none\.$",
        ),
        (
            GOOD | {"modalities": [PART | {"structure": {"end": 5}, "names": {"end": 7}}]},
            r"The name of 'end' of image is 7, but must be that of a token\.$",
        ),
        (
            GOOD | {"text_tokenizer": "gpt2"},
            r"text_tokenizer is 'gpt2', but must be the SHA-256 that a text tokenizer has as its digest, or null\.$",
        ),
        (
            GOOD | {"modalities": [PART, PART | {"name": "b"}]},
            r"The vocabulary overlaps: b \(0 to 4\) and image \(0 to 4\)",
        ),
        (
            GOOD | {"unused": [[1, 2, 3]]},
            r"unused has \[1, 2, 3\], but must have pairs of a first id and the one after",
        ),
        (GOOD | {"unused": [[3, 3]]}, r"unused has \[3, 3\], but"),
        (GOOD | {"numbers": NUMBERS | {"separator": 3}}, r"separator is 3, but must be a string\.$"),
        (
            GOOD | {"numbers": NUMBERS | {"heads": [["1"]]}},
            r"heads have \('1',\), but must be lists of ids from 0 on\.$",
        ),
        (GOOD | {"numbers": NUMBERS | {"heads": [1]}}, r"heads is 1, but must be a list\.$"),
        (GOOD | {"numbers": {"separator": "*"}}, r"numbers has no heads: write it again"),
    ],
)
def test_a_file_that_is_no_vocabulary_says_why(values, sentence, tmp_path):
    (tmp_path / "vocabulary.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=rf"^{tmp_path}/vocabulary\.json is not a vocabulary: {sentence}"):
        Vocabulary.load(tmp_path)


def test_a_file_that_is_missing_or_no_json(tmp_path):
    with pytest.raises(
        ValueError, match=r"^There is no vocabulary at .*: give a folder with vocabulary\.json, or such a file\.$"
    ):
        Vocabulary.load(tmp_path)
    (tmp_path / "vocabulary.json").write_bytes(b"\xff{")
    with pytest.raises(ValueError, match=r"vocabulary\.json is not a vocabulary: 'utf-8' codec"):
        Vocabulary.load(tmp_path)
    (tmp_path / "vocabulary.json").write_text("{")
    with pytest.raises(ValueError, match=r"vocabulary\.json is not a vocabulary: Expecting property name"):
        Vocabulary.load(tmp_path)
