"""What a call of tokenize-images knows of itself, for the page at its end."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from ..inputs.plan import Plan
from .rates import Point


class Call(NamedTuple):
    """A call that has ended."""

    plan: Plan
    done: int
    """Of its planned shards, those that are whole."""
    given_up: int
    """Shards that are damaged, unread or lost."""
    rates: Sequence[Point]
    limit: str
    """The stage that was waited for most; empty where that was not measured."""
    waited: Mapping[str, float]
    """The fractions of the time, by stage."""
    counts: Tensor | None
    """Tokens of each code, `q k`, where the call made all shards of the folder."""
    seconds_per_image: float
    """What one core, or the device, needed to encode an image; 0 when it encoded none."""
