"""Inputs are recognised by their keys, names and bytes, even where names repeat."""

import itertools
import os
import shutil

import pytest

from samples import image_bytes, noise_image

PNG = [image_bytes(noise_image(20, 20, index), "PNG") for index in range(4)]


@pytest.fixture
def photos(tmp_path):
    """Two folders whose files have the same names, with captions."""
    for index, name in enumerate("xy"):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(PNG[index])
        (folder / "1.txt").write_text(name)
    return tmp_path / "photos"


MOMENTS = itertools.count(1)


def touch(*paths):
    for path in paths:
        os.utime(path, ns=(next(MOMENTS),) * 2)


def swap(one, other):
    for source, target in ((one, "aside"), (other, one), ("aside", other)):
        os.rename(one.parent / source, one.parent / target)


def test_captions_of_one_name_are_told_apart(tokenize, photos, tmp_path):
    tokenize(photos, "--out", tmp_path / "out")
    touch(*photos.rglob("*.*"))
    assert "0 written, 1 done before" in tokenize(photos, "--out", tmp_path / "out")
    for name in ("1.txt", "1.png"):
        swap(photos / "x" / name, photos / "y" / name)
        touch(photos / "x" / name, photos / "y" / name)
        assert "was made from other images" in tokenize(photos, "--out", tmp_path / "out", code=2)
        swap(photos / "x" / name, photos / "y" / name)


def test_images_of_one_name_are_known_again_when_they_are_swapped(tokenize, photos, tmp_path):
    given = [photos / name / "1.png" for name in "xy"]
    for image in given:
        image.with_suffix(".txt").unlink()
    touch(given[0])
    tokenize(*given, "--out", tmp_path / "out")
    swap(*given)
    assert "0 written, 1 done before" in tokenize(*given, "--out", tmp_path / "out")
    given[0].write_bytes(PNG[3])
    assert "was made from other images" in tokenize(*given, "--out", tmp_path / "out", code=2)


def test_a_caption_of_two_images_and_members_of_one_name_are_known_again(tokenize, make_tar, photos, tmp_path):
    shutil.copy(photos / "x" / "1.png", photos / "x" / "1.jpg")
    (photos / "x" / "2.png").write_bytes(b"broken")
    (photos / "x" / "2.txt").write_text("of a broken image")
    shard = make_tar(tmp_path / "s.tar", [("a.png", PNG[0]), ("a.png", PNG[1]), ("a.txt", b"caption")])
    tokenize(photos, shard, "--out", tmp_path / "out")
    touch(shard, *photos.rglob("*.*"))
    assert "0 written, 2 done before" in tokenize(photos, shard, "--out", tmp_path / "out")


def test_an_input_that_becomes_damaged_is_named_and_the_others_are_done(tokenize, make_tar, tmp_path):
    shards = [make_tar(tmp_path / f"{name}.tar", [("a.png", PNG[0])]) for name in "ab"]
    tokenize(shards[0], "--out", tmp_path / "out")
    before = (tmp_path / "out" / "a.tar").read_bytes()
    shards[0].write_bytes(shards[0].read_bytes()[:700])
    for written in ("1 written, 0 done before", "0 written, 1 done before"):
        said = tokenize(*shards, "--out", tmp_path / "out", code=1)
        assert written in said and f"damaged: {shards[0]} is cut off within a.png" in said
    assert (tmp_path / "out" / "a.tar").read_bytes() == before
