"""How many images that cannot be read a run puts up with."""

from typing import NamedTuple

from ..tokenizer.errors import WorkFailedError

FEW = 10
"""Unreadable images that count as a share; fewer never end a run, however small the collection."""


class Tolerance(NamedTuple):
    """How many unreadable images a run puts up with."""

    stops: bool
    """At the first."""
    share: float

    def check(self, unreadable: int, drawn: int, last: str) -> None:
        """Raise WorkFailedError when too many of the images drawn so far were unreadable; `last` says what the last was."""
        if unreadable >= FEW and unreadable > self.share * drawn:
            raise WorkFailedError(
                f"{unreadable} of the {drawn} images drawn so far cannot be read, more than data.max_unreadable "
                f"({self.share:g}) allows; the last: {last}: repair or remove them, or raise data.max_unreadable."
            )
