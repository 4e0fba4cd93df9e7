"""Pictures to token shards on this machine: one stream through all shards, so that no processor waits where one ends.

Threads read pictures ahead of the encoder, the encoder (or several) takes batches, and a thread writes the shards that are
whole, all in the order of the plan.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..tokenizer.usage import no_counts
from .ahead import ahead
from .encoding import encode_pictures
from .forward import Encode
from .manifest import Manifest
from .plan import PlannedShard, Sample
from .reading import ReadPicture, read_picture
from .shards import Failure, TokenSample, read_sidecar, write_shard
from .stream import Batch, ShardWork, batches, shard_samples


class Progress(NamedTuple):
    """How far a run is, told after every batch and every shard."""

    pictures: int
    failures: int
    shards: int


class Totals(NamedTuple):
    """What a run did, the shards that were done before it left out."""

    shards: int
    shards_done_before: int
    pictures: int
    failures: list[Failure]
    damaged: list[str]
    """Why input shards could not be read; nothing was written for them."""
    empty: list[str]
    """Names of the shards whose input holds no picture at all."""
    seconds: float
    counts: Tensor
    """How often each code was used, `q k`."""


class StoppedOnError(RuntimeError):
    """Something failed and the user asked to stop at the first failure."""


def tokenize_shards(
    shards: list[PlannedShard],
    folder: Path,
    manifest: Manifest,
    encode: Encode,
    *,
    batch_size: int,
    workers: int,
    encoders: int,
    stop_on_error: bool,
    report: Callable[[Progress], None],
) -> Totals:
    """Tokenize the shards that are not done and write each with its sidecar.

    `workers` threads read pictures ahead; with more than one of `encoders`, as many threads encode a batch each. Raises
    ValueError, before anything is written, when a done shard was made from other inputs; StoppedOnError; or OSError from
    the disk. What stands before the failure in the plan is written all the same.
    """
    started = time.perf_counter()
    pending = [shard for shard in shards if not _is_done(folder, shard, manifest.fingerprint)]
    done_before = len(shards) - len(pending)
    counts = no_counts(manifest.num_codebooks, manifest.vocab_size)
    pictures = 0
    failures: list[Failure] = []
    damaged: list[str] = []
    empty: list[str] = []
    written = 0

    def tell() -> None:
        report(Progress(pictures, len(failures), done_before + len(damaged) + written))

    def read(item: tuple[ShardWork, Sample | None]) -> tuple[ShardWork, ReadPicture | Failure | None]:
        work, sample = item
        return work, read_picture(sample, manifest.preprocessing, manifest.downsample) if sample else None

    def encoded(batch: Batch) -> tuple[Batch, list[TokenSample | Failure]]:
        return batch, encode_pictures(batch.pictures, encode, manifest)

    def whole(results: Iterable[tuple[Batch, list[TokenSample | Failure]]]) -> Iterator[ShardWork]:
        nonlocal pictures
        for (work, _, failed, last), rows in results:
            tokens = [row for row in rows if isinstance(row, TokenSample)]
            failed = [*failed, *(row for row in rows if isinstance(row, Failure))]
            _stop_at(stop_on_error, work, failed)
            work.tokens += tokens
            work.failures += failed
            pictures += len(tokens)
            failures.extend(failed)
            if last and work.damage:
                damaged.append(work.damage)
            elif last:
                yield work
            tell()

    def write(work: ShardWork) -> ShardWork:
        _write(work, folder, manifest)
        return work

    window = (encoders + 1) * batch_size + 2 * workers
    tell()
    with (
        ThreadPoolExecutor(workers) as readers,
        ThreadPoolExecutor(encoders) as encoding,
        ThreadPoolExecutor(1) as writing,
    ):
        grouped = batches(ahead(readers, read, shard_samples(pending), window), batch_size)
        with_tokens = map(encoded, grouped) if encoders == 1 else ahead(encoding, encoded, grouped, encoders + 1)
        for work in ahead(writing, write, whole(with_tokens), 2):
            counts += _count(work.tokens, manifest)
            empty += [] if work.samples else [work.shard.name]
            written += 1
            tell()
    seconds = time.perf_counter() - started
    return Totals(written, done_before, pictures, failures, damaged, empty, seconds, counts)


def _is_done(folder: Path, shard: PlannedShard, fingerprint: str) -> bool:
    sidecar = read_sidecar(folder, shard.name)
    if sidecar is None:
        return False
    where, remedy = folder / sidecar.shard, "use another --out folder, or --overwrite."
    if sidecar.fingerprint != fingerprint:
        raise ValueError(
            f"{where} was made by the tokenizer {sidecar.fingerprint[:12]}, not by {fingerprint[:12]}: {remedy}"
        )
    if sidecar.inputs != shard.inputs:
        raise ValueError(f"{where} was made from other pictures than those given now: {remedy}")
    return True


def _stop_at(stop_on_error: bool, work: ShardWork, failures: list[Failure]) -> None:
    if stop_on_error and failures:
        raise StoppedOnError(f"{failures[0].source}: {failures[0].reason} (--on-error skip goes on without it).")
    if stop_on_error and work.damage:
        raise StoppedOnError(f"{work.damage} (--on-error skip goes on with the other shards)")


def _write(work: ShardWork, folder: Path, manifest: Manifest) -> None:
    # Failures of the encoder come after those of the readers: in the order of the samples, batches do not show.
    places = {(sample.key, sample.source): place for place, sample in enumerate(work.samples)}
    work.failures.sort(key=lambda failure: places[failure.key, failure.source])
    write_shard(folder, work.shard.name, work.tokens, work.failures, manifest.fingerprint, work.shard.inputs)


def _count(samples: list[TokenSample], manifest: Manifest) -> Tensor:
    """Return how often each code occurs in the tokens of a shard, `q k`."""
    levels = [[sample.tokens[level].ravel() for sample in samples] for level in range(manifest.num_codebooks)]
    empty = np.zeros(0, np.int64)
    counts = [np.bincount(np.concatenate([*level, empty]), minlength=manifest.vocab_size) for level in levels]
    return torch.from_numpy(np.stack(counts))
