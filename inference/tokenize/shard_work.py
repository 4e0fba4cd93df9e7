"""One shard in progress, from its task to its result."""

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from einops import rearrange

from ..inputs.input_files import UnreadableInputError, sha256_of
from ..inputs.reading import Unusable
from ..inputs.samples import Listing, ShardTask
from ..token_shards.formats import shard_files
from ..token_shards.sidecar import ShardFile, Sidecar, sidecar_name, to_json
from ..token_shards.token_samples import TokenSample
from .job import Job, ShardResult
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
    tokens = [rearrange(sample.tokens, "q y x -> q (y x)") for sample in work.tokens]
    return ShardResult(
        name=name,
        samples=samples,
        images=len(work.tokens) - work.reused,
        failures=[row for row, _ in work.failed],
        passed_over=work.listing.passed_over,
        tokens=np.concatenate(tokens, axis=1) if tokens else None,
    )


def _described(name: str, file: BinaryIO) -> ShardFile:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return ShardFile(name=name, size=size, sha256=sha256_of(file))


def _write(work: ShardWork, job: Job) -> None:
    """Write a shard and, last, its sidecar.

    A kill at any moment leaves the old shard with its sidecar, no sidecar, or the new shard with its sidecar.
    """
    task, shard = work.task, job.shard_file(work.task.name)
    order = {(sample.key, sample.source): index for index, sample in enumerate(work.listing.samples)}
    work.tokens.sort(key=lambda sample: order[sample.key, sample.metadata["source"]])
    work.failed.sort(key=lambda failed: order[failed.row.key, failed.row.source])
    names = shard_files(shard, job.shard_format)
    with job.out.replace([*reversed(names), sidecar_name(shard)]) as opened:
        *files, sidecar_file = opened
        files.reverse()
        job.shard_format.write(files, work.tokens)
        sidecar = Sidecar(
            shard=shard,
            fingerprint=job.manifest.fingerprint,
            inputs=task.inputs,
            content=content_digest(work.tokens, work.failed),
            images=len(work.tokens),
            failures=[row for row, _ in work.failed],
            passed_over=dict(sorted(work.listing.passed_over.items())),
            files=list(map(_described, names, files)),
        )
        sidecar_file.write(to_json(sidecar))
        if task.source.digest() != task.inputs:
            raise UnreadableInputError(f"{task.name}: its input changed while it was read")
