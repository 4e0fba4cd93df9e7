"""What is done about images that cannot be read: passed over up to a fraction, or the end of the work at the first."""

import math
from fractions import Fraction
from typing import Annotated, Literal, NamedTuple, TypeAlias

from pydantic import Field

from ...tokenizer.config import Config
from ...tokenizer.errors import WorkFailedError

FEW = 10
"""Unreadable images that count as a fraction; fewer never end a run, however small the collection."""
REMEDY = "repair or remove it, or set data.on_error to skip"

OnError: TypeAlias = Literal["skip", "stop"]


class Tolerance(NamedTuple):
    """How many unreadable images are tolerated."""

    stops: bool
    """At the first."""
    fraction: float

    def allows(self, unreadable: int, images: int) -> bool:
        """Return whether so many of so many images may be unreadable; exactly the fraction is allowed."""
        # As the decimal number that was typed: in float64 0.29 of 100 images are fewer than 29.
        return unreadable < FEW or unreadable <= Fraction(repr(self.fraction)) * images

    def check(self, unreadable: int, images: int, last: str) -> None:
        """Raise WorkFailedError when too many of all images are unreadable; `last` says what the last was."""
        if not self.allows(unreadable, images):
            raise self._error(unreadable, f"{images} images", last)

    def check_drawn(self, unreadable: int, drawn: int, images: int, last: str) -> None:
        """Raise WorkFailedError when so many of the images drawn so far, of `images` in all, show that too many are.

        Images are drawn at random, so that a few more than the fraction may be chance: up to three standard deviations.
        """
        more_than_chance = unreadable >= FEW and unreadable > self._by_chance(drawn)
        if more_than_chance or not self.allows(unreadable, images):
            raise self._error(unreadable, f"{drawn} images drawn so far", last)

    def _by_chance(self, drawn: int) -> float:
        expected = self.fraction * drawn
        return expected + 3 * math.sqrt(expected * (1 - self.fraction))

    def _error(self, unreadable: int, of: str, last: str) -> WorkFailedError:
        return WorkFailedError(
            f"{unreadable} of the {of} cannot be read, more than data.max_unreadable ({self.fraction:g}) allows; the last: "
            f"{last}: repair or remove them, or raise data.max_unreadable."
        )


class ToleratingConfig(Config):
    """The keys of every section that says which images are read; sections build on it."""

    on_error: OnError = "skip"
    """At an image that cannot be read: skip, so that another one takes its place, or stop."""
    max_unreadable: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Fraction of the images that may be skipped, and in any case fewer than 10; above it the work stops."""

    @property
    def tolerance(self) -> Tolerance:
        """How many unreadable images are tolerated."""
        return Tolerance(self.on_error == "stop", self.max_unreadable)
