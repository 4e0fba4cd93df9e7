"""What tokenizing is planned in: samples, each an image with the files that belong to it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from ...images.finding.index import Entry
from ...tokenizer.config import Config


class Kept(NamedTuple):
    """A file that is carried over unchanged beside the tokens of its image, such as a caption."""

    extension: str
    """What follows the key and a dot in its name."""
    entry: Entry


@dataclass(frozen=True)
class Sample:
    """An image to tokenize: its key in the output shard and where its bytes are."""

    key: str
    source: str
    """The name of its file, as it is shown."""
    entry: Entry | None
    problem: str = ""
    """Why there is no entry."""
    kept: tuple[Kept, ...] = ()


class Failure(Config):
    """An image that could not be used."""

    key: str
    source: str
    reason: str


class Listing(NamedTuple):
    """What is in the input of a shard."""

    samples: list[Sample]
    passed_over: Counter[str]
    """Files that are neither images nor carried over, by kind, such as `.txt` or `folder`."""


@dataclass(frozen=True)
class PlannedShard:
    """One output shard."""

    name: str
    inputs: str
    """Digest of the names, sizes and times of change of what goes in."""
    listing: Callable[[], Listing] = field(repr=False)
    """Lists what goes in when its turn comes; raises DamagedShard, a ValueError, or OSError."""
    inputs_now: Callable[[], str] = field(repr=False)
    """Takes the digest `inputs` again."""

    def samples(self) -> list[Sample]:
        """Return the samples; raise as `listing`."""
        return self.listing().samples
