"""What happens at images that cannot be read: warn and leave them out, or stop the work if there are too many."""

import math
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

from torch import Tensor

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
    """Collects the unreadable ones of `images` images, warns about each, and stops the work at the limit."""

    def __init__(self, limit: UnreadableLimit, images: int, warn: Callable[[str], None] = lambda _: None):
        self.messages: list[str] = []
        self._limit = limit
        self._images = images
        self._warn = warn

    def add(self, error: UnreadableImageError, drawn: int | None = None) -> None:
        """Count one more; `drawn` as in `UnreadableLimit.check`, which raises WorkFailedError."""
        self._limit.check_first(error)
        self.messages.append(str(error))
        self._limit.check(len(self.messages), self._images, str(error), drawn)
        self._warn(LEFT_OUT.format(error))

    def readable(self, attempts: Iterable[Tensor | UnreadableImageError]) -> Iterator[Tensor]:
        """Yield the images and count the errors among them."""
        for attempt in attempts:
            if isinstance(attempt, Tensor):
                yield attempt
            else:
                self.add(attempt)
