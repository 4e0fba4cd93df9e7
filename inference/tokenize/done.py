"""Which shards of a plan are done: those whose sidecar is there, and agrees with the tokenizer and the inputs."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ...images.finding.index import DamagedShard
from ..inputs.digests import digest, file_sha256
from ..inputs.reading import Unusable
from ..inputs.samples import PlannedShard
from ..inputs.unreadable import UnreadableInputError, input_sha256
from ..token_shards.manifest import Manifest
from ..token_shards.sidecar import Sidecar, read_sidecar, write_sidecar
from ..token_shards.webdataset_format import StoredSample, TokenSample, stored_samples


def pending_shards(
    shards: Iterable[PlannedShard], folder: Path, manifest: Manifest, retry_failures: bool
) -> list[PlannedShard]:
    """Return the shards that are not done; with `retry_failures` those with failed rows too.

    One whose input has become damaged or unreadable counts as not done.
    Raises ValueError when one was made by another tokenizer or from other inputs.
    """
    return [shard for shard in shards if not _is_done(folder, shard, manifest, retry_failures)]


def reusable_samples(folder: Path, shard: PlannedShard, fingerprint: str) -> dict[str, StoredSample]:
    """Return the samples by key that a shard on disk has of the very same inputs."""
    sidecar = read_sidecar(folder, shard.name)
    if sidecar is None or (sidecar.inputs, sidecar.fingerprint) != (shard.inputs, fingerprint):
        return {}
    path = folder / sidecar.shard
    return {sample.key: sample for sample in stored_samples(path)} if file_sha256(path) == sidecar.sha256 else {}


def content_digest(
    tokens: Iterable[TokenSample], failed: Iterable[Unusable], kept: Iterable[tuple[str, str, str]]
) -> str:
    """Return the digest of the keys, the names and the bytes that a shard was made from.

    `kept` has key, name and SHA-256 of what was carried over. What has no file has no bytes.
    """
    facts: list[list[str | int]] = [[sample.key, sample.facts["source"], sample.facts["sha256"]] for sample in tokens]
    facts += [[row.key, row.source, sha256] for row, sha256 in failed]
    return digest(facts + [list(facts_of_file) for facts_of_file in kept])


def _is_done(folder: Path, shard: PlannedShard, manifest: Manifest, retry_failures: bool) -> bool:
    sidecar = read_sidecar(folder, shard.name)
    if sidecar is None:
        return False
    where, remedy = folder / sidecar.shard, "use another --out folder, or --overwrite."
    if sidecar.fingerprint != manifest.fingerprint:
        raise ValueError(f"{where} was made by another tokenizer than {manifest.model}: {remedy}")
    if retry_failures and sidecar.failures:
        return False
    try:
        is_same = sidecar.inputs == shard.inputs or _content_now(shard, sidecar) == sidecar.content
    except (DamagedShard, OSError, UnreadableInputError):
        return False  # it is named when its turn comes, and what was made of it before stays
    if not is_same:
        remedy = remedy.replace("use ", "use --retry-failures, ") if sidecar.failures else remedy
        raise ValueError(f"{where} was made from other images than those given now: {remedy}")
    if sidecar.inputs != shard.inputs:  # copied or touched: the bytes are compared once, and not by every call
        write_sidecar(folder, sidecar.model_copy(update={"inputs": shard.inputs}))
    return True


def _content_now(shard: PlannedShard, sidecar: Sidecar) -> str:
    """Take the digest of the bytes that are there now: a file that was copied or touched is still the same."""
    samples = shard.samples()
    facts: list[list[str | int]] = []
    failed = Counter((row.key, row.source) for row in sidecar.failures)
    failed.subtract((sample.key, sample.source) for sample in samples if not sample.entry)
    for sample in samples:
        facts.append([sample.key, sample.source, input_sha256(sample.entry) if sample.entry else ""])
        if sample.entry and failed[sample.key, sample.source] < 1:
            facts += [[sample.key, entry.name, input_sha256(entry)] for _, entry in sample.kept]
    return digest(facts)
