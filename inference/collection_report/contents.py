"""What the sidecars of a folder say, read a few at a time: shards, totals, and failures by reason."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..inputs.samples import Failure
from ..token_shards.sidecar import Sidecar, sidecars
from ..token_shards.store import Store

MAX_REASONS = 1000
"""Reasons that are told apart; others are counted together."""
MAX_EXAMPLES = 3
OTHERS = "other reasons"


class ShardInfo(NamedTuple):
    """A whole shard."""

    name: str
    """Of its first file."""
    images: int
    rows: int
    failures: int


@dataclass
class Reason:
    """Images that failed for one reason, the numbers in its text aside."""

    text: str
    """With N for numbers that differ."""
    number: int = 0
    examples: list[str] = field(default_factory=list)


class Failures:
    """Failures by reason, in bounded memory."""

    def __init__(self) -> None:
        self.number = 0
        self._reasons: dict[str, Reason] = {}

    def add(self, shard: str, failures: Iterable[Failure]) -> None:
        """Count the failures of a shard."""
        for failure in failures:
            self.number += 1
            key = re.sub(r"\d+([.,]\d+)*", "N", failure.reason)
            if key not in self._reasons and len(self._reasons) >= MAX_REASONS:
                key = OTHERS
            reason = self._reasons.setdefault(key, Reason(key if key == OTHERS else failure.reason))
            if reason.text != failure.reason:
                reason.text = key
            reason.number += 1
            if len(reason.examples) < MAX_EXAMPLES:
                reason.examples.append(f"{failure.source} ({shard})")

    def reasons(self) -> list[Reason]:
        """Return the reasons, the most frequent first."""
        return sorted(self._reasons.values(), key=lambda reason: (-reason.number, reason.text))


@dataclass
class Contents:
    """All whole shards of a folder."""

    shards: list[ShardInfo] = field(default_factory=list)
    failures: Failures = field(default_factory=Failures)
    passed_over: Counter[str] = field(default_factory=Counter)

    @property
    def images(self) -> int:
        """Images that are tokenized."""
        return sum(shard.images for shard in self.shards)

    @property
    def rows(self) -> int:
        """Samples in the shards."""
        return sum(shard.rows for shard in self.shards)

    def add(self, sidecar: Sidecar) -> None:
        """Add a shard."""
        self.shards.append(ShardInfo(sidecar.shard, sidecar.images, sidecar.rows, len(sidecar.failures)))
        self.failures.add(sidecar.name, sidecar.failures)
        self.passed_over.update(sidecar.passed_over)


def read_contents(store: Store, fingerprint: str) -> Contents:
    """Return what the sidecars of the whole shards of a tokenizer say; raise OSError when the store does not answer."""
    contents = Contents()
    for sidecar in sidecars(store):
        if sidecar.fingerprint == fingerprint:
            contents.add(sidecar)
    return contents
