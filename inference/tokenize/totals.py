"""What a run of tokenize-images has done so far."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...evaluation.token_counts import count_tokens
from ..inputs.samples import Failure
from .batching import ShardWork


class Progress(NamedTuple):
    """How far a run is."""

    images: int
    """Images and rows of failures so far."""
    expected: int
    """How many there will be, estimated while not all shards are listed."""
    failures: int
    shards: int
    """Shards that are written or given up."""


@dataclass
class Totals:
    """What a run did; the shards that were done before it are left out."""

    counts: Tensor
    """How often each code was used: see `empty_counts`."""
    vocab_size: int
    planned: int
    """Shards that the run is about."""
    shards: int = 0
    images: int = 0
    """Images that were tokenized."""
    failures: list[Failure] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    """Why input shards are damaged; nothing was written for them."""
    unread: list[str] = field(default_factory=list)
    """Which files cannot be read now; nothing was written for their shards."""
    empty: list[str] = field(default_factory=list)
    """Names of the shards whose input has no file at all."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """Members of input shards that are neither images nor carried over, by kind."""
    seconds: float = 0.0
    _listed: list[int] = field(default_factory=list)
    _seen: Counter[str] = field(default_factory=Counter)

    @property
    def progress(self) -> Progress:
        """How far the run is."""
        listed = sum(self._listed)
        return Progress(
            images=self._seen.total(),
            expected=round(listed * self.planned / len(self._listed)) if self._listed else 0,
            failures=self._seen["failures"],
            shards=self.shards + len(self.damaged) + len(self.unread),
        )

    def add_listing(self, samples: int) -> None:
        """Take in how many samples the next shard has."""
        self._listed.append(samples)

    def add_batch(self, images: int, failures: int) -> None:
        """Take in what became of a batch, whose shard may still be given up."""
        self._seen.update(images=images, failures=failures)

    def add_given_up(self, work: ShardWork) -> None:
        """Take in a shard for which nothing was written."""
        if work.damage:
            self.damaged.append(work.damage)
        else:
            self.unread.append(work.unread)

    def add_shard(self, work: ShardWork) -> None:
        """Take in a shard that was written."""
        assert work.listing is not None
        self.shards += 1
        self.images += len(work.tokens) - work.reused
        self.failures += [row for row, _ in work.failed]
        for sample in work.tokens:
            tokens = torch.from_numpy(sample.tokens.astype(np.int64))
            count_tokens(self.counts, tokens.unsqueeze(0), self.vocab_size)
        self.passed_over += work.listing.passed_over
        if not work.samples and not work.listing.passed_over:
            self.empty.append(work.shard.name)
