"""What is in the rows of a folder, read once and in bounded memory: use of the codes, grids, sizes, and a sample of rows."""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange

from ...evaluation.usage import count_tokens, empty_counts
from ...images.tars.blocks import DamagedShard
from ..token_shards.formats import SHARD_FORMATS, open_samples
from ..token_shards.manifest import Manifest
from ..token_shards.store import Store
from ..token_shards.token_samples import StoredSample
from .contents import ShardInfo
from .row_sample import Row, RowSample, random_order

SAMPLE_SIZE = 64
FLUSH_AT = 1 << 20
"""Tokens that are counted together."""
MAX_KINDS = 1 << 16
"""Grids, and sizes, that are told apart; others are counted together."""
PER_OCTAVE = 4
"""Bars of a histogram between a value and its double."""
MAX_SIDE = 1 << 31
"""Pixels of a side in the histograms; metadata may say anything."""
MAX_PROBLEMS = 5
LOOKS_AT_CLOCK_EVERY = 32
"""Rows."""


class Limit(NamedTuple):
    """When to stop reading."""

    rows: int | None = None
    """A shard is not begun once so many are read."""
    until: float = math.inf
    """`time.monotonic()` after which no row is read."""

    def is_over(self) -> bool:
        """Return whether the time is up."""
        return time.monotonic() >= self.until


NO_LIMIT = Limit()


class Survey:
    """What was found in the rows that were read."""

    def __init__(self, manifest: Manifest, sample_size: int = SAMPLE_SIZE):
        self.counts = empty_counts(manifest.num_codebooks, manifest.vocab_size)
        self.rows = 0
        self.shards = 0
        """Those that were begun."""
        self.images = 0
        self.grids: Counter[tuple[int, ...]] = Counter()
        """Rows by `q y x`."""
        self.sizes: Counter[tuple[int, int]] = Counter()
        """Images by width and height of the upright original."""
        self.untold = 0
        """Images of sizes beyond MAX_KINDS."""
        self.pixels: Counter[int] = Counter()
        """Images by the logarithm of their pixels, in steps of a quarter of an octave."""
        self.aspects: Counter[int] = Counter()
        """Images by the logarithm of width / height, in the same steps."""
        self.damaged_rows = 0
        self.problems: list[str] = []
        """Phrases about the first damaged rows and shards."""
        self._vocab_size = manifest.vocab_size
        self._views = manifest.views.names
        self.sample = RowSample(sample_size)
        self._waiting: list[np.ndarray] = []
        self._waiting_tokens = 0

    def add(self, shard: str, sample: StoredSample) -> None:
        """Add a row; one that is damaged is counted apart."""
        try:
            row = Row(shard, sample.key, sample.tokens(), sample.metadata())
            self._check(row.tokens)
        except ValueError as error:
            self.damaged_rows += 1
            self.add_problem(f"{shard}: {sample.key}: {error}")
            return
        self.rows += 1
        self._count(row.tokens)
        self._add_image(row)
        self.sample.add(row)

    def add_problem(self, phrase: str) -> None:
        """Note what is damaged."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(phrase)

    def flush(self) -> None:
        """Count the tokens that wait."""
        if self._waiting:
            tokens = torch.from_numpy(np.concatenate(self._waiting, axis=1).astype(np.int64))
            count_tokens(self.counts, rearrange(tokens, "q n -> 1 q 1 n"), self._vocab_size)
        self._waiting, self._waiting_tokens = [], 0

    def _check(self, tokens: np.ndarray) -> None:
        if len(tokens) != len(self.counts):
            raise ValueError(f"it has {len(tokens)} codebooks, but the tokenizer has {len(self.counts)}")
        if int(tokens.max()) >= self._vocab_size:
            raise ValueError(f"a token is {int(tokens.max())}, but the codes are 0 to {self._vocab_size - 1}")

    def _count(self, tokens: np.ndarray) -> None:
        self.grids[_kind(self.grids, tokens.shape, (0, 0, 0))] += 1
        self._waiting.append(rearrange(tokens, "q y x -> q (y x)"))
        self._waiting_tokens += tokens.size
        if self._waiting_tokens >= FLUSH_AT:
            self.flush()

    def _add_image(self, row: Row) -> None:
        if row.metadata.get("view", "") not in ("", *self._views[:1]):
            return
        width, height = row.metadata["width"], row.metadata["height"]
        self.images += 1
        across, down = (math.log2(min(side, MAX_SIDE)) for side in (width, height))
        self.pixels[round(PER_OCTAVE * (across + down))] += 1
        self.aspects[round(PER_OCTAVE * (across - down))] += 1
        if (width, height) in self.sizes or len(self.sizes) < MAX_KINDS:
            self.sizes[width, height] += 1
        else:
            self.untold += 1


def survey_rows(
    store: Store,
    manifest: Manifest,
    shards: Sequence[ShardInfo],
    limit: Limit = NO_LIMIT,
    on_row: Callable[[int], None] = lambda _: None,
) -> Survey:
    """Read the rows of shards, in a random order of the shards, until a limit; damage becomes a phrase.

    `on_row` gets the number of rows now and then.
    """
    found = Survey(manifest)
    for shard in sorted(shards, key=lambda shard: random_order(shard.name)):
        if limit.is_over() or (limit.rows is not None and found.rows >= limit.rows):
            break
        found.shards += 1
        try:
            _read(found, store, manifest, shard.name, limit, on_row)
        except DamagedShard as error:
            found.add_problem(str(error).rstrip("."))
        except OSError as error:
            found.add_problem(f"{store.path_of(shard.name)} cannot be read ({error.strerror or error})")
    found.flush()
    on_row(found.rows)
    return found


def _read(
    found: Survey, store: Store, manifest: Manifest, shard: str, limit: Limit, on_row: Callable[[int], None]
) -> None:
    with open_samples(store, shard, SHARD_FORMATS[manifest.format]) as samples:
        for index, sample in enumerate(samples):
            if index % LOOKS_AT_CLOCK_EVERY == 0:
                on_row(found.rows)
                if limit.is_over():
                    return
            found.add(shard, sample)


def _kind(known: Counter[tuple[int, ...]], kind: tuple[int, ...], otherwise: tuple[int, ...]) -> tuple[int, ...]:
    return kind if kind in known or len(known) < MAX_KINDS else otherwise
