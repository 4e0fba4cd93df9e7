"""The division of the images: by the hash of each alone, and never the same image on two sides."""

import hashlib
import random

import pytest

from vistok.evaluation.prior.recipe import MAX_HELD_OUT, MAX_VALIDATION, RECIPE
from vistok.evaluation.prior.split import TooFewImagesError, split_images


def names(split, groups):
    return [{groups[index] for index in part} for part in split]


def test_the_first_by_hash_are_held_out_then_come_those_for_validation():
    groups = [f"image-{index}" for index in range(50)]
    ordered = sorted(groups, key=lambda group: hashlib.sha256(group.encode()).hexdigest())
    train, validation, held_out = names(split_images(groups, RECIPE), groups)
    assert (held_out, validation, train) == (set(ordered[:10]), set(ordered[10:15]), set(ordered[15:]))


def test_order_does_not_matter_and_each_image_is_in_one_part():
    groups = [f"image-{index}" for index in range(73)]
    mixed = random.Random(0).sample(groups, len(groups))
    assert names(split_images(groups, RECIPE), groups) == names(split_images(mixed, RECIPE), mixed)
    assert sorted(index for part in split_images(groups, RECIPE) for index in part) == list(range(73))


def test_crops_of_an_image_are_on_one_side():
    groups = [f"image-{index % 15}" for index in range(150)]
    parts = names(split_images(groups, RECIPE), groups)
    assert sum(map(len, parts)) == 15 == len(set.union(*parts))
    assert all(parts)


def test_large_collections_hold_out_no_more_than_is_needed():
    split = split_images([str(index) for index in range(20_000)], RECIPE)
    assert [len(part) for part in split] == [20_000 - MAX_HELD_OUT - MAX_VALIDATION, MAX_VALIDATION, MAX_HELD_OUT]


@pytest.mark.parametrize("groups", [["a"], ["a"] * 30, list("abcdefghi")])
def test_too_few_images_are_named(groups):
    with pytest.raises(
        TooFewImagesError,
        match=r"^\d images? cannot train a prior and be held out from it as well: give at least 10 different images, better "
        r"thousands, or leave --prior out\.$",
    ):
        split_images(groups, RECIPE)


def test_ten_images_are_enough():
    assert [len(part) for part in split_images(list("abcdefghij"), RECIPE)] == [7, 1, 2]


def test_one_image_of_many_crops_leaves_others_to_train_on():
    groups = ["huge"] * 1000 + list("abcdefghi")
    assert split_images(groups, RECIPE).train
