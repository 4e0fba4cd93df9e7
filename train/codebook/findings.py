"""What an alarm is about: a codebook, and what is wrong with it."""

from typing import NamedTuple

from ...evaluation.usage import Usage

FRESH = 100
"""First steps of a run, in which latents find their directions."""
COMPUTED_REMEDIES = (
    "a lower optimizer.lr, a higher losses.codebook_entropy if there is one, or ema with codebook.revive_every"
)
"""What to try where codes cannot be set one by one."""


class Finding(NamedTuple):
    """Something that is wrong."""

    name: str
    """Its kind, then a space and the codebook if there are several."""
    sentence: str


class WatchedCodebook(NamedTuple):
    """A codebook and its usage in a window."""

    name: str
    """Its name in sentences; empty when it is the only one."""
    usage: Usage
    codes: int
    can_set: bool = True
    """Whether its codes can be set one by one, so that initialization and revival are remedies."""

    def remedies(self, remedies: str) -> str:
        """Return `remedies`, or what helps where codes are computed."""
        return remedies if self.can_set else COMPUTED_REMEDIES


class Directions(NamedTuple):
    """How many directions the codes of a codebook can vary in."""

    path: str
    """Log path of its values: `codebook`, or `codebook/0` and so on."""
    dim: int
    codes: int
    """Max number of different codes: those that there are, or the tokens when these are fewer."""
