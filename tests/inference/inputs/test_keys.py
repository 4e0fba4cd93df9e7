"""Keys are paths below any folder, and no two of a shard are equal."""

import random
import re

import pytest
from webdataset.tariterators import base_plus_ext

from vistok.inference.inputs.keys import (
    keys_of_names,
    make_unique,
    name_key,
    normalised_key,
    webdataset_extension,
    webdataset_key,
)
from vistok.inference.inputs.unusual_keys import unusual_keys

NAMES = ["a.jpg", "x/a.b.jpg", "./c.tar.gz", "/abs.png", "../up.JPG", "d.e/f.g.h", "x/y/z.seg.png"]


@pytest.mark.parametrize("name", NAMES)
def test_key_and_extension_are_those_of_webdataset(name):
    assert (webdataset_key(name), webdataset_extension(name)) == base_plus_ext(name)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("../up", "up"),
        ("/abs", "abs"),
        ("//two", "two"),
        ("./dot", "dot"),
        ("a//b", "a/b"),
        ("a/../../b", "b"),
        ("a/./b", "a/b"),
        ("...", "..."),
        ("plain/é", "plain/é"),
    ],
)
def test_keys_are_normalised(key, expected):
    assert normalised_key(key) == expected


def test_equal_keys_are_told_apart_whatever_is_taken():
    assert make_unique(["a", "./a", "a_2", "/a", "b"], taken=["b", "b_2"]) == ["a", "a_2", "a_2_2", "a_3", "b_3"]
    keys = make_unique(keys_of_names(["a.png", "a.jpg", "a_png.gif", "x.y.png", "x_y.png", "é.png"]))
    assert len(set(keys)) == 6 and all(re.fullmatch(r"[^.]+", key) for key in keys)


def test_many_equal_keys_are_told_apart_in_no_time():
    assert len(set(make_unique(["a"] * 100_000))) == 100_000


@pytest.mark.parametrize("seed", range(100))
def test_unusual_keys_are_those_of_the_plain_way(seed):
    draw = random.Random(seed)
    names = [
        draw.choice(("", "x/"))
        + draw.choice("ab")
        + draw.choice(("", "_2", "_jpg", ".b", "_jpg_2"))
        + draw.choice((".jpg", ".png"))
        for _ in range(draw.randint(0, 12))
    ]
    unusual = unusual_keys(names)
    assert [unusual.get(index, name_key(name)) for index, name in enumerate(names)] == make_unique(keys_of_names(names))
