"""Which images are held out, which choose the weights, and which are trained on."""

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

from ...tokenizer.wording import pluralize
from .recipe import MAX_HELD_OUT, MAX_VALIDATION, MIN_IMAGES, Recipe


class Split(NamedTuple):
    """Indices of images; each image is in one part."""

    train: list[int]
    validation: list[int]
    held_out: list[int]


class TooFewImagesError(ValueError):
    """There are too few images to train a prior and to measure it on others."""


def split_images(groups: Sequence[str], recipe: Recipe) -> Split:
    """Split images by the hash of the group of each, so that no group is on two sides.

    A group is all that was made of one image, such as ten crops of it. The first groups by SHA-256 are held out, and the next
    are for validation, until there are enough images. Neither depends on order, tokenizer or seed. Raises TooFewImagesError
    below MIN_IMAGES images, and when their groups are so few that none are left to train on.
    """
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    check_enough(len(members))
    ordered = sorted(
        members, key=lambda group: (hashlib.sha256(group.encode("utf-8", "surrogatepass")).digest(), group)
    )
    waiting = [members[group] for group in ordered]
    held_out = _take(waiting, min(MAX_HELD_OUT, math.ceil(recipe.held_out * len(groups))))
    validation = _take(waiting, min(MAX_VALIDATION, math.ceil(recipe.validation * len(groups))))
    return Split([index for group in waiting for index in group], validation, held_out)


def check_enough(images: int) -> None:
    """Raise TooFewImagesError when there are fewer than MIN_IMAGES."""
    if images < MIN_IMAGES:
        raise TooFewImagesError(
            f"{pluralize(images, 'image')} cannot train a prior and be held out from it as well: give at least {MIN_IMAGES} "
            "different images, better thousands, or leave --prior out."
        )


def _take(waiting: list[list[int]], wanted: int) -> list[int]:
    """Remove groups from the front until there are `wanted` images, but leave one group; return the images."""
    taken: list[int] = []
    while len(waiting) > 1 and len(taken) < wanted:
        taken += waiting.pop(0)
    return taken
