"""A vocabulary has one owner for each id."""

import pytest

from toy_text import plain_vocabulary
from vistok.sequences.modality import Modality
from vistok.sequences.numbers import NumberText
from vistok.sequences.vocabulary import Vocabulary, image_vocabulary

TEXT = ("text", (0,), 100, {"end": 7})


def test_the_size_is_the_highest_id_and_one():
    assert plain_vocabulary(TEXT).size == 100
    assert plain_vocabulary(TEXT, ("image", (100, 140), 40, {"begin": 180})).size == 181
    assert plain_vocabulary(TEXT, ("image", (102, 142), 40, {"begin": 100, "end": 101})).size == 182
    assert plain_vocabulary(("image", (0,), 10), ("text", (16,), 84), unused=[(10, 16)]).size == 100


@pytest.mark.parametrize("rows", [140, 141, 256])
def test_an_embedding_that_holds_all_ids_is_accepted(rows):
    plain_vocabulary(TEXT, ("image", (100,), 40)).check_rows(rows)


def test_an_embedding_that_is_too_small_is_refused():
    sentence = (
        r"^The model's embedding has 139 rows, but the vocabulary needs 140: extend the model, or make the vocabulary"
    )
    with pytest.raises(ValueError, match=sentence):
        plain_vocabulary(TEXT, ("image", (100,), 40)).check_rows(139)


@pytest.mark.parametrize(
    ("parts", "unused", "sentence"),
    [
        (
            (TEXT, ("image", (99,), 40)),
            (),
            r"overlaps: text \(0 to 99\) and image \(99 to 138\) share ids; move one behind the other\.$",
        ),
        (
            (("image", (0, 9), 10),),
            (),
            r"overlaps: codebook 0 of image \(0 to 9\) and codebook 1 of image \(9 to 18\) share ids",
        ),
        ((TEXT, ("image", (100,), 9)), [(99, 100)], r"overlaps: text \(0 to 99\) and unused \(99 to 99\) share ids"),
        (
            (TEXT, ("image", (100,), 9, {"end": 104})),
            (),
            r"overlaps: id 104 is 'end' of image and of image \(100 to 108\)\.$",
        ),
        (
            (TEXT, ("image", (101,), 9, {"end": 100})),
            [(100, 101)],
            r"overlaps: id 100 is 'end' of image and of unused \(100 to 100\)\.$",
        ),
        (
            (TEXT, ("image", (110,), 9)),
            (),
            r"has a gap: ids 100 to 109 are of no modality; give them in unused as \(100, 110\), or close the gap\.$",
        ),
        ((("image", (1,), 9),), (), r"has a gap: ids 0 to 0 are of no modality"),
        ((TEXT, ("image", (100,), 9, {"end": 110})), (), r"has a gap: ids 109 to 109 are of no modality"),
        (
            (("text", (0,), 100, {"begin": 9}), ("image", (100,), 9, {"begin": 9})),
            (),
            r"overlaps: id 9 is 'begin' of image and 'begin' of text; give one of them another token\.$",
        ),
        ((TEXT, TEXT), (), r"has two modalities of the name text: rename one\.$"),
        ((), (), r"has no modality: give one such as Modality\('image', \(0,\), 1024\)\.$"),
    ],
)
def test_overlaps_and_gaps_are_refused(parts, unused, sentence):
    with pytest.raises(ValueError, match=f"^The vocabulary {sentence}"):
        plain_vocabulary(*parts, unused=unused)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (("", (0,), 5), r"^A modality has the name '', but must have one such as 'image'\.$"),
        (("image", (), 5), r"^The offsets of image are \(\), but must be one id from 0 on for each codebook\.$"),
        (("image", (-1,), 5), r"^The offsets of image are \(-1,\), but"),
        (("image", (0.5,), 5), r"^The offsets of image are \(0\.5,\), but"),
        (("image", (0,), 0), r"^The size of image is 0, but must be a number of ids from 1 on\.$"),
        (
            ("image", (0,), 5, {}, {}, [(5, 9)]),
            r"^image has more ranges \(\(5, 9\),\), but text alone may: give an offset for each codebook\.$",
        ),
        (("image", (0,), True), r"^The size of image is True, but"),
        (
            ("image", (0,), 5, {"begn": 5}),
            r"^'begn' is not a known role of a structure id: did you mean 'begin'\? Otherwise choose from begin, end, ",
        ),
        (("image", (0,), 5, {"end": -5}), r"^The id of 'end' of image is -5, but must be an integer from 0 on\.$"),
        (
            ("image", (0,), 5, {"begin": 6, "end": 6}),
            r"^Two structure ids of image are the same in {'begin': 6, 'end': 6}: each role needs its own\.$",
        ),
    ],
)
def test_a_modality_that_makes_no_sense_is_refused(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        Modality(*fields)


def test_modalities_are_found_by_name():
    vocabulary = plain_vocabulary(TEXT, ("image", (100,), 40))
    assert vocabulary["image"].offsets == (100,) and "text" in vocabulary and "audio" not in vocabulary
    sentence = r"^'imag' is not a known modality of this vocabulary: did you mean 'image'\? Otherwise choose from image"
    with pytest.raises(ValueError, match=sentence):
        vocabulary["imag"]


def test_images_alone_are_codes_then_structure():
    vocabulary = image_vocabulary(10, 2, ("begin", "end"))
    assert (
        vocabulary == Vocabulary((Modality("image", (0, 10), 10, {"begin": 20, "end": 21}),)) and vocabulary.size == 22
    )


@pytest.mark.parametrize("number", [3, 100, 139, 140])
def test_numbers_that_are_not_text_are_refused(number):
    """Structure that lies among the text, codes, and ids of nothing."""
    numbers = NumberText("*", [(50, 51)], [(number,)])
    sentence = rf"^Numbers of a grid have the id {number}, which is not of the text: make the vocabulary with vocabulary_for\.$"
    with pytest.raises(ValueError, match=sentence):
        plain_vocabulary(TEXT, ("image", (100,), 40, {"begin": 3}), numbers=numbers)
