"""Resuming: which shards are done, because their sidecar agrees with the tokenizer and the inputs."""

from collections import Counter
from collections.abc import Iterable

from ...images.tars.blocks import DamagedShard
from ..inputs.input_files import UnreadableInputError, digest, entry_sha256, unreadable
from ..inputs.reading import Unusable
from ..inputs.samples import ShardTask
from ..inputs.views import image_key
from ..token_shards.formats import open_samples
from ..token_shards.manifest import check_shard
from ..token_shards.shard_file import file_that_differs
from ..token_shards.sidecar import Sidecar, sidecars, whole_sidecar, write_sidecar
from ..token_shards.token_samples import TokenSample
from .job import Job


def pending_shards(tasks: Iterable[ShardTask], job: Job, retry_failures: bool) -> list[ShardTask]:
    """Return the shards that are not done; raise ValueError when one was made by another tokenizer, with other
    settings or from other inputs.
    """
    planned = {job.shard_file(task.name): task for task in tasks}
    for sidecar in sidecars(job.out):  # one at a time, as they may hold more failures than fit into memory
        task = planned.get(sidecar.shard)
        if task and _is_done(task, sidecar, job, retry_failures):
            del planned[sidecar.shard]
    return list(planned.values())


def reusable_samples(task: ShardTask, job: Job) -> dict[str, list[TokenSample]]:
    """Return the rows, without companions, that the shard on disk has of the very same inputs, by the keys of their images.

    Raises UnreadableInputError when the shard cannot be read, OSError when its folder does not even give a sidecar.
    """
    shard = job.shard_file(task.name)
    sidecar = whole_sidecar(job.out, shard)
    if sidecar is None or (sidecar.inputs, sidecar.fingerprint) != (task.inputs, job.manifest.fingerprint):
        return {}
    rows: dict[str, list[TokenSample]] = {}
    try:
        if file_that_differs(job.out, sidecar.files):
            return {}
        with open_samples(job.out, shard, job.shard_format) as samples:
            for sample in samples:
                row = TokenSample(sample.key, sample.tokens(), sample.metadata())
                rows.setdefault(image_key(row.key, row.metadata), []).append(row)
    except OSError as error:
        raise unreadable(task.name, error) from None
    return {key: found for key, found in rows.items() if len(found) == job.manifest.views.rows}


def content_digest(samples: Iterable[TokenSample], failed: Iterable[Unusable]) -> str:
    """Return the digest of the keys, the names and the bytes that a shard was made from, once it is written."""
    images = {(image_key(sample.key, sample.metadata), sample.metadata["source"]): sample for sample in samples}
    rows: list[list[str | int]] = []
    for (key, source), sample in images.items():
        rows.append([key, source, sample.metadata["sha256"]])
        rows += [[key, companion.entry.name, companion.sha256()] for companion in sample.companions]
    return digest(rows + [[row.key, row.source, sha256] for row, sha256 in failed])


def _is_done(task: ShardTask, sidecar: Sidecar, job: Job, retry_failures: bool) -> bool:
    path, remedy = job.out.path_of(job.shard_file(task.name)), "use another --out folder, or --overwrite."
    check_shard(sidecar, job.manifest, job.out)
    if retry_failures and sidecar.failures:
        return False
    try:
        is_same = sidecar.inputs == task.inputs or _content_now(task, sidecar) == sidecar.content
    except (DamagedShard, OSError, UnreadableInputError):
        return False  # reading it again names the damage; what was made of it before stays
    if not is_same:
        remedy = remedy.replace("use ", "use --retry-failures, ") if sidecar.failures else remedy
        raise ValueError(f"{path} was made from other images than those given now: {remedy}")
    if sidecar.inputs != task.inputs:  # copied or touched: the bytes are compared once, not by every call
        write_sidecar(job.out, sidecar.model_copy(update={"inputs": task.inputs}))
    return True


def _content_now(task: ShardTask, sidecar: Sidecar) -> str:
    """Return the digest of the bytes as they are now, which copying or touching a file does not change."""
    samples = list(task.source.list_samples().samples)
    rows: list[list[str | int]] = []
    failed = Counter((row.key, row.source) for row in sidecar.failures)
    failed.subtract((sample.key, sample.source) for sample in samples if not sample.entry)
    for sample in samples:
        rows.append([sample.key, sample.source, entry_sha256(sample.entry) if sample.entry else ""])
        if sample.entry and failed[sample.key, sample.source] < 1:
            rows += [[sample.key, each.entry.name, each.sha256()] for each in sample.companions]
    return digest(rows)
