"""Images that cannot be read are named once and left out; too many of them stop the work."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from ...tokenizer.errors import WorkFailedError

IGNORED = 10
"""Fewer unreadable images than this never stop the work, however small the collection."""
LEFT_OUT = "{}: it is left out."
"""Warning about an unreadable image, given the message of its error."""


class UnreadableImageError(Exception):
    """An image that cannot be used. The message names it and gives the reason; callers turn it into a warning or an error."""


class UnreadableLimit(NamedTuple):
    """The number of unreadable images at which the work stops."""

    stop_at_first: bool
    max_fraction: float

    def allows(self, unreadable: int, images: int) -> bool:
        """Return whether `unreadable` of `images` are within the limit, which is inclusive."""
        # As the decimal number that was typed: in float64, 0.29 of 100 images is less than 29.
        return unreadable < IGNORED or unreadable <= Fraction(repr(self.max_fraction)) * images

    def check_first(self, error: UnreadableImageError | str) -> None:
        """Raise WorkFailedError if the first unreadable image stops the work."""
        if self.stop_at_first:
            raise WorkFailedError(f"{error}: repair or remove it, or set data.on_error to skip.")

    def check(self, unreadable: int, images: int, last: str, drawn: int | None = None) -> None:
        """Raise WorkFailedError if too many of all images are unreadable, or every one is.

        `last` describes the last of them. `drawn` is the number of images read so far, if they come in random order. Chance
        may then exceed the fraction early on, so the check allows three standard deviations.
        """
        by_chance = drawn is None or unreadable < IGNORED or unreadable <= self._expected_at_most(drawn)
        if not self.allows(unreadable, images) or not by_chance:
            total = f"{images} images" if drawn is None else f"{drawn} images drawn so far"
            raise WorkFailedError(
                f"{unreadable} of the {total} cannot be read, more than data.max_unreadable ({self.max_fraction:g}) allows; "
                f"the last: {last}: repair or remove them, or raise data.max_unreadable."
            )
        if unreadable == images:
            raise WorkFailedError(
                f"none of the {images} images can be read; the last: {last}: check that the disk is mounted."
            )

    def _expected_at_most(self, drawn: int) -> float:
        expected = self.max_fraction * drawn
        return expected + 3 * math.sqrt(expected * (1 - self.max_fraction))


class UnreadableCounter:
    """Counts the unreadable ones of `images` images, warns about each, and stops the work at the limit."""

    def __init__(self, limit: UnreadableLimit, images: int, warn: Callable[[str], None]):
        self._limit = limit
        self._images = images
        self._warn = warn
        self._count = 0

    def add(self, error: UnreadableImageError, drawn: int | None = None) -> None:
        """Count one more; `drawn` as in `UnreadableLimit.check`, which raises WorkFailedError."""
        self._limit.check_first(error)
        self._count += 1
        self._limit.check(self._count, self._images, str(error), drawn)
        self._warn(LEFT_OUT.format(error))


class UnreadableSummary(NamedTuple):
    """The unreadable images since the last log line."""

    values: dict[str, float]
    """Scalars by log path."""
    warnings: list[str]
    """One sentence for each image that was not named before."""


class UnreadableInTraining:
    """Counts unreadable images over all processes; the checkpoint keeps which ones were named.

    `images` is the number of images in all sources. A run has drawn at most its crops and the images they replaced.
    """

    def __init__(self, limit: UnreadableLimit, batch_size: int, images: int, accelerator: Accelerator):
        self._limit = limit
        self._batch_size = batch_size
        self._images = images
        self._accelerator = accelerator
        self._named: set[str] = set()
        self._replaced = 0
        self._count = 0
        self._new: set[str] = set()

    def observe(self, unreadable: list[str]) -> None:
        """Add the images that this process could not read in one step."""
        self._count += len(unreadable)
        self._new |= set(unreadable) - self._named

    def summarise(self, step: int) -> UnreadableSummary:
        """Return the summary up to `step` and begin a new one; every process must call it.

        Raises WorkFailedError, on every process, if too many images are unreadable.
        """
        counts = torch.tensor([self._count, len(self._new)], device=self._accelerator.device)
        count, new = self._accelerator.reduce(counts, reduction="sum").tolist()
        named = sorted(set(gather_object(list(self._new)))) if new else []
        self._named |= set(named)
        self._replaced += count
        self._count, self._new = 0, set()
        if named:
            drawn = min(step * self._batch_size + self._replaced, self._images)
            self._limit.check(len(self._named), self._images, named[-1], drawn)
        return UnreadableSummary({"data/unreadable": count}, [f"{each}: others take its place." for each in named])

    def state_dict(self) -> dict[str, Any]:
        return {"named": sorted(self._named), "replaced": self._replaced}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._named, self._replaced = set(state["named"]), state["replaced"]

    def rank_state_dict(self) -> dict[str, Any]:
        return {"count": self._count, "new": sorted(self._new)}

    def load_rank_state_dict(self, state: dict[str, Any]) -> None:
        self._count, self._new = state["count"], set(state["new"])
