"""One shard in progress, from its task to its result."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from einops import rearrange

from ...evaluation.usage import count_tokens, empty_counts
from ...tokenizer.retries import StillFailingError
from ..inputs.input_files import UnreadableInputError, unreadable
from ..inputs.reading import Unusable
from ..inputs.samples import Listing, Sample, ShardTask
from ..inputs.views import image_key
from ..token_shards.formats import shard_files
from ..token_shards.shard_file import described
from ..token_shards.sidecar import MANIFEST_FILE, Sidecar, sidecar_name, to_json
from ..token_shards.token_samples import TokenSample
from .job import CodeCounts, Job, ShardResult
from .resume import content_digest


@dataclass
class ShardWork:
    """A shard in progress."""

    task: ShardTask
    listing: Listing = field(default_factory=lambda: Listing([], Counter()))
    samples: int = 0
    """Samples that have been listed so far."""
    order: dict[tuple[str, str], int] = field(default_factory=dict)
    """Their indices by key and source."""
    damage: str = ""
    unread: str = ""
    unwritten: str = ""
    stored: dict[str, list[TokenSample]] = field(default_factory=dict)
    """Rows that an earlier call made of the same inputs, by the keys of their images."""
    reused: int = 0
    """Number of images whose rows are taken over."""
    tokens: list[TokenSample] = field(default_factory=list)
    """Rows; those of one image follow one another."""
    failed: list[Unusable] = field(default_factory=list)

    @property
    def is_given_up(self) -> bool:
        """Whether this call will write nothing for it."""
        return bool(self.damage or self.unread or self.unwritten)

    @property
    def expected_samples(self) -> int:
        """Samples in all, estimated until all are listed."""
        return round(self.samples / self.listing.fraction()) if self.samples else 0

    def listed(self) -> Iterator[Sample]:
        """Yield the samples of the listing, and note their order; raise as the listing."""
        for sample in self.listing.samples:
            self.order.setdefault((sample.key, sample.source), self.samples)
            self.samples += 1
            yield sample


def finish(work: ShardWork, job: Job) -> ShardResult:
    """Write and seal a shard, its rows in the order of the samples, or say why it is not written."""
    if not work.is_given_up:
        try:
            _write(work, job)
        except UnreadableInputError as error:
            work.unread = str(error)
        except StillFailingError as error:
            work.unwritten = _why_unwritten(error, job)
    name, rows_each = work.task.name, job.manifest.views.rows
    if work.is_given_up:
        return ShardResult(name, work.samples, damage=work.damage, unread=work.unread, unwritten=work.unwritten)
    return ShardResult(
        name=name,
        samples=work.samples,
        images=len(work.tokens) // rows_each - work.reused,
        rows=len(work.tokens) - work.reused * rows_each,
        failures=[row for row, _ in work.failed],
        passed_over=work.listing.passed_over,
        usage=_usage(work, job.manifest.vocab_size),
    )


def _why_unwritten(error: StillFailingError, job: Job) -> str:
    """Return a sentence about a file that the store does not take; raise the error when the run ends at it.

    It does with `--on-error stop`, and when the store answers nothing any more, as each shard would wait for it in vain.
    """
    if job.stop_on_error:
        raise error
    try:
        job.out.size(MANIFEST_FILE)
    except OSError:
        raise error from None
    return f"{error.filename} cannot be written ({error.strerror})"


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
    work.tokens.sort(key=lambda row: work.order[image_key(row.key, row.metadata), row.metadata["source"]])
    work.failed.sort(key=lambda failed: work.order[failed.row.key, failed.row.source])
    names = shard_files(shard, job.shard_format)
    with job.out.replace([*reversed(names), sidecar_name(shard)]) as opened:
        *files, sidecar_file = opened
        files.reverse()
        job.shard_format.write(files, work.tokens)
        sidecar = Sidecar(
            shard=shard,
            fingerprint=job.manifest.fingerprint,
            precision=job.manifest.precision,
            keep=job.manifest.keep,
            views=job.manifest.views,
            inputs=task.inputs,
            content=content_digest(work.tokens, work.failed),
            images=len(work.tokens) // job.manifest.views.rows,
            rows=len(work.tokens),
            failures=[row for row, _ in work.failed],
            passed_over=dict(sorted(work.listing.passed_over.items())),
            files=list(map(described, names, files)),
        )
        sidecar_file.write(to_json(sidecar))
        try:
            is_changed = task.source.digest() != task.inputs
        except OSError as error:
            raise unreadable(task.name, error) from None
        if is_changed:
            raise UnreadableInputError(f"{task.name}: its input changed while it was read")
