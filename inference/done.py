"""Which shards of a plan are done: those whose sidecar is there, and agrees with the tokenizer and the inputs."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from .digests import digest
from .manifest import Manifest
from .reading import Unusable
from .samples import PlannedShard
from .shards import Sidecar, read_sidecar
from .token_tar import StoredSample, TokenSample, stored_samples
from .unreadable import read_input

CHUNK = 1 << 20


def pending_shards(
    shards: Iterable[PlannedShard], folder: Path, manifest: Manifest, retry_failures: bool
) -> list[PlannedShard]:
    """Return the shards that are not done; with `retry_failures` those with failed rows too.

    Raises ValueError when one was made by another tokenizer or from other inputs, and UnreadableInputError.
    """
    return [shard for shard in shards if not _is_done(folder, shard, manifest, retry_failures)]


def reusable_samples(folder: Path, shard: PlannedShard, fingerprint: str) -> dict[str, StoredSample]:
    """Return the samples by key that a shard on disk has of the very same inputs."""
    sidecar = read_sidecar(folder, shard.name)
    if sidecar is None or (sidecar.inputs, sidecar.fingerprint) != (shard.inputs, fingerprint):
        return {}
    path = folder / sidecar.shard
    return {sample.key: sample for sample in stored_samples(path)} if file_sha256(path) == sidecar.sha256 else {}


def content_digest(tokens: Iterable[TokenSample], failed: Iterable[Unusable], kept: dict[str, str]) -> str:
    """Return the digest of the names and the bytes that a shard was made from.

    `kept` has the SHA-256 of what was carried over, by name. An image without a file stands for itself by its reason.
    """
    facts: list[list[str | int]] = [[sample.facts["source"], sample.facts["sha256"]] for sample in tokens]
    facts += [[row.source, sha256 or row.reason] for row, sha256 in failed]
    facts += [[name, sha256] for name, sha256 in kept.items()]
    return digest(facts)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    value = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            value.update(chunk)
    return value.hexdigest()


def _is_done(folder: Path, shard: PlannedShard, manifest: Manifest, retry_failures: bool) -> bool:
    sidecar = read_sidecar(folder, shard.name)
    if sidecar is None:
        return False
    where, remedy = folder / sidecar.shard, "use another --out folder, or --overwrite."
    if sidecar.fingerprint != manifest.fingerprint:
        raise ValueError(f"{where} was made by another tokenizer than {manifest.model}: {remedy}")
    if retry_failures and sidecar.failures:
        return False
    if sidecar.inputs != shard.inputs and _content_now(shard, sidecar) != sidecar.content:
        raise ValueError(f"{where} was made from other images than those given now: {remedy}")
    return True


def _content_now(shard: PlannedShard, sidecar: Sidecar) -> str:
    """Take the digest of the bytes that are there now: a file that was copied or touched is still the same."""
    failed = {(row.key, row.source) for row in sidecar.failures}
    facts: list[list[str | int]] = []
    for sample in shard.samples():
        read = sample.entry and hashlib.sha256(read_input(sample.entry)).hexdigest()
        facts.append([sample.source, read or sample.problem])
        if (sample.key, sample.source) not in failed:
            kept = {entry.name: hashlib.sha256(read_input(entry)).hexdigest() for _, entry in sample.kept}
            facts += [[name, sha256] for name, sha256 in kept.items()]
    return digest(facts)
