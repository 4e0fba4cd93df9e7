"""Tokenizers come first, then images; whatever can be meant in two ways is asked for."""

import pytest

from samples import PHOTOS
from vistok.inference.evaluate.arguments import short_names, split_arguments

COFFEE = str(PHOTOS / "coffee.jpg")


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """A tokenizer, a training run, and images in a folder with the name of a built-in tokenizer."""
    monkeypatch.chdir(tmp_path)
    for file in ("mine/config.json", "mine/model.safetensors", "run/config.yaml", "images/a.png", "images/config.json"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "run" / "checkpoints").mkdir()


def test_those_at_the_front_that_name_tokenizers_are_tokenizers():
    for others, models in [
        ([], []),
        (["mine"], ["mine"]),
        (["mine", "photo-f8", "hf://owner/repo"], ["mine", "photo-f8", "hf://owner/repo"]),
        (["run"], ["run"]),  # which will be refused as a run, rather than searched for images
    ]:
        found = split_arguments("first", [*others, "images", COFFEE])
        assert found == (["first", *models], ["images", COFFEE])


def test_a_folder_with_the_name_of_a_tokenizer_may_hold_its_tokens_and_does_not_take_the_place_of_it(tmp_path):
    (tmp_path / "photo-f8").mkdir()
    assert split_arguments("mine", ["photo-f8", "images"]) == (["mine", "photo-f8"], ["images"])
    assert split_arguments("mine", ["./photo-f8", "images"]) == (["mine"], ["./photo-f8", "images"])


def test_a_call_of_one_tokenizer_is_as_it_was(tmp_path):
    assert split_arguments("images", ["images"]) == (["images"], ["images"])
    (tmp_path / "photo-f8").mkdir()
    assert split_arguments("mine", ["photo-f8"]) == (["mine"], ["photo-f8"])
    assert split_arguments("mine", ["images", "photo-f8"]) == (["mine"], ["images", "photo-f8"])
    assert split_arguments("mine", ["{a,b}.png", "no/such.png"]) == (["mine"], ["{a,b}.png", "no/such.png"])


@pytest.mark.parametrize(
    ("others", "sentence"),
    [
        (
            ["photo-f8"],
            "photo-f8 names a tokenizer, and no images follow it: give image files, folders, .tar shards, .parquet files",
        ),
        (
            ["images", "photo-f8"],
            "photo-f8 names a tokenizer, but comes after the images images: give all tokenizers first.",
        ),
        (["images", "mine"], "mine names a tokenizer, but comes after the images images: give all tokenizers first."),
        (["mine", "photo-f8", "mine", "images"], "mine is given twice: name each tokenizer once."),
        (["photof8", "images"], "There is no tokenizer 'photof8': did you mean 'photo-f8'"),
    ],
)
def test_what_is_wrong_is_said(others, sentence):
    with pytest.raises(ValueError, match=sentence):
        split_arguments("first", others)


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (["photo-f8", "hf://owner/repo@v1"], ["photo-f8", "repo@v1"]),
        (["runs/a/export", "runs/b/export/"], ["a", "b"]),
        (["1/a/export", "2/a/export"], ["1/a", "2/a"]),
        (["a", "a/export"], ["a", "a/export"]),
        (["x/a", "y/a", "b"], ["x/a", "y/a", "b"]),
        (["./a", "a"], ["./a", "a"]),
        (["a/", "a"], ["a/", "a"]),
    ],
)
def test_short_names_tell_tokenizers_apart(models, names):
    assert short_names(models) == names
