"""One shard in progress, from its task to its result."""

import os
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import torch
from einops import rearrange

from ...evaluation.usage import count_tokens, empty_counts
from ..inputs.input_files import UnreadableInputError, sha256_of
from ..inputs.reading import Unusable
from ..inputs.samples import Listing, ShardTask
from ..token_shards.sidecar import Sidecar, sidecar_name, to_json
from ..token_shards.token_samples import TokenSample
from .job import CodeCounts, Job, ShardResult
from .resume import content_digest


@dataclass
class ShardWork:
    """A shard in progress."""

    task: ShardTask
    listing: Listing = field(default_factory=lambda: Listing([], Counter()))
    damage: str = ""
    unread: str = ""
    stored: dict[str, TokenSample] = field(default_factory=dict)
    """Samples by key that an earlier call made of the same inputs."""
    reused: int = 0
    """Number of these that are taken over."""
    tokens: list[TokenSample] = field(default_factory=list)
    failed: list[Unusable] = field(default_factory=list)

    @property
    def is_given_up(self) -> bool:
        """Whether this call will write nothing for it."""
        return bool(self.damage or self.unread)


def finish(work: ShardWork, job: Job) -> ShardResult:
    """Write and seal a shard, its rows in the order of the samples, or say why it is not written."""
    if not work.is_given_up:
        try:
            _write(work, job)
        except UnreadableInputError as error:
            work.unread = str(error)
    name, samples = work.task.name, len(work.listing.samples)
    if work.is_given_up:
        return ShardResult(name, samples, damage=work.damage, unread=work.unread)
    return ShardResult(
        name=name,
        samples=samples,
        images=len(work.tokens) - work.reused,
        failures=[row for row, _ in work.failed],
        passed_over=work.listing.passed_over,
        usage=_usage(work, job.manifest.vocab_size),
    )


def _usage(work: ShardWork, vocab_size: int) -> tuple[CodeCounts, ...]:
    if not work.tokens:
        return ()
    tokens = np.concatenate([rearrange(sample.tokens, "q y x -> q (y x)") for sample in work.tokens], axis=1)
    counts = empty_counts(len(tokens), vocab_size)
    count_tokens(counts, torch.from_numpy(tokens.astype(np.int64))[None, :, None], vocab_size)
    occurring = [level.nonzero()[:, 0] for level in counts]
    return tuple(
        CodeCounts(slots.numpy(), level[slots].numpy()) for slots, level in zip(occurring, counts, strict=True)
    )


def _write(work: ShardWork, job: Job) -> None:
    """Write a shard and, last, its sidecar.

    A kill at any moment leaves the old shard with its sidecar, no sidecar, or the new shard with its sidecar.
    """
    task, shard = work.task, job.shard_file(work.task.name)
    order = {(sample.key, sample.source): index for index, sample in enumerate(work.listing.samples)}
    work.tokens.sort(key=lambda sample: order[sample.key, sample.metadata["source"]])
    work.failed.sort(key=lambda failed: order[failed.row.key, failed.row.source])
    with job.out.replace([shard, sidecar_name(shard)]) as (file, sidecar_file):
        job.shard_format.write(file, work.tokens)
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        sidecar = Sidecar(
            shard=shard,
            fingerprint=job.manifest.fingerprint,
            inputs=task.inputs,
            content=content_digest(work.tokens, work.failed),
            images=len(work.tokens),
            failures=[row for row, _ in work.failed],
            passed_over=dict(sorted(work.listing.passed_over.items())),
            sha256=sha256_of(file),
            size=size,
        )
        sidecar_file.write(to_json(sidecar))
        if task.source.digest() != task.inputs:
            raise UnreadableInputError(f"{task.name}: its input changed while it was read")
