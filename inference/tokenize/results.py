"""Running an engine, and summing up its results."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

import torch

from ...evaluation.usage import empty_counts
from ..inputs.samples import Failure, ShardTask
from .engines.table import EngineFactory
from .job import Job, ShardProgress, ShardResult
from .limits import Waits

MAX_FAILURES = 1000
"""Failures that a call remembers."""


class Totals:
    """What a call has done so far; the shards that were done before are left out."""

    def __init__(self, num_codebooks: int, vocab_size: int, planned: int):
        self.counts = empty_counts(num_codebooks, vocab_size)
        self.vocab_size = vocab_size
        self.shards = 0
        self.images = 0
        self.rows = 0
        self.failed = 0
        """Images that could not be used."""
        self.failures: list[Failure] = []
        """Some of them; the sidecars have all, which of a large collection may not fit into memory."""
        self.damaged: list[str] = []
        self.unread: list[str] = []
        self.unwritten: list[str] = []
        self.lost: list[str] = []
        self.empty: list[str] = []
        self.passed_over: Counter[str] = Counter()
        self.seconds = 0.0
        self.waits = Waits()
        self.progress: Counter[str] = Counter()
        """Sums over the shards that were begun: their samples, and how many images are done and failed."""
        self._planned = planned
        self._progress_of: dict[str, ShardProgress] = {}
        self._listed: set[str] = set()
        """Shards whose samples are known, at least in part; one that has only begun says nothing of the size of the others."""

    @property
    def shards_done(self) -> int:
        """Shards that are written or given up."""
        return self.shards + len(self.damaged) + len(self.unread) + len(self.unwritten) + len(self.lost)

    @property
    def expected_images(self) -> int:
        """Images in all, estimated while not all shards are listed; 0 when none is."""
        return round(self.progress["samples"] * self._planned / max(1, len(self._listed)))

    def add_progress(self, progress: ShardProgress) -> None:
        """Replace what is known of the progress of one shard."""
        before = self._progress_of.get(progress.name, ShardProgress(progress.name, 0))
        self._progress_of[progress.name] = progress
        if progress.samples:
            self._listed.add(progress.name)
        for name in ("samples", "images", "failures"):
            self.progress[name] += getattr(progress, name) - getattr(before, name)

    def add(self, result: ShardResult) -> None:
        """Add the result of a shard."""
        self.add_progress(ShardProgress(result.name, result.samples, result.samples, len(result.failures)))
        self._listed.add(result.name)
        self.waits += result.waits
        for reason, reasons in (
            (result.damage, self.damaged),
            (result.unread, self.unread),
            (result.unwritten, self.unwritten),
            (result.lost, self.lost),
        ):
            if reason:
                reasons.append(reason)
                return
        self.shards += 1
        self.images += result.images
        self.rows += result.rows
        self.failed += len(result.failures)
        self.failures += result.failures[: MAX_FAILURES - len(self.failures)]
        self.passed_over += result.passed_over
        if not result.samples and not result.passed_over:
            self.empty.append(result.name)
        for counts, (slots, numbers) in zip(self.counts, result.usage, strict=bool(result.usage)):
            counts[torch.tensor(slots)] += torch.tensor(numbers)  # copies, since those of Ray are read-only


def tokenize_shards(
    tasks: list[ShardTask], job: Job, engine: EngineFactory, on_progress: Callable[[Totals], None] = lambda _: None
) -> Totals:
    """Run the tasks with an engine and sum up the results; raise as `Engine.run`.

    Workers do not know who holds the folder: when another command has taken it over, the next news of them ends the run.
    """
    totals = Totals(job.manifest.num_codebooks, job.manifest.vocab_size, len(tasks))
    started = time.perf_counter()

    def report(progress: ShardProgress) -> None:
        job.out.check_held()
        totals.add_progress(progress)
        on_progress(totals)

    on_progress(totals)
    with ExitStack() as stack:
        results = engine(job, report).run(tasks)
        stack.callback(getattr(results, "close", lambda: None))  # ends the threads of a generator after an error
        for result in results:
            job.out.check_held()
            totals.add(result)
            on_progress(totals)
    totals.seconds = time.perf_counter() - started
    return totals
