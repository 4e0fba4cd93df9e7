"""Token shards on disk, compared with their sidecars before anything is made of them."""

from collections.abc import Iterable
from pathlib import Path

from ...images.file_entry import problem_of
from ...images.tars.blocks import DamagedShard
from ..inputs.input_files import file_sha256
from ..token_shards.formats import SHARD_FORMATS, ShardFormat, read_samples
from ..token_shards.manifest import Manifest, read_manifest
from ..token_shards.ownership import orphans
from ..token_shards.sidecar import MANIFEST_FILE, Sidecar, all_sidecars, read_sidecar
from ..token_shards.token_samples import StoredSample


def find_shards(inputs: Iterable[Path]) -> tuple[dict[Path, Sidecar | None], list[str]]:
    """Find token shards and their sidecars, and say which are missing; raise ValueError for an input that holds none."""
    shards: dict[Path, tuple[Path, Sidecar | None]] = {}  # by the real path, so that each comes once
    missing: list[str] = []
    for path in inputs:
        if path.is_dir():
            found, sentences = _in_folder(path)
            if not found and not sentences:
                raise ValueError(f"{path} holds no token shards: give a folder that tokenize-images wrote.")
            missing += sentences
        elif path.is_file():
            found = {path: read_sidecar(path)}
        else:
            raise ValueError(
                f"{path} {problem_of(str(path))}: give token shards, or folders that tokenize-images wrote."
            )
        for shard, sidecar in found.items():
            shards.setdefault(shard.resolve(), (shard, sidecar))
    return dict(shards.values()), list(dict.fromkeys(missing))


def verified_samples(path: Path, sidecar: Sidecar | None, shard_format: ShardFormat) -> list[StoredSample]:
    """Compare a shard with its sidecar and list its samples; raise DamagedShard, with a sentence, when it is not whole."""
    try:
        is_same = sidecar is None or file_sha256(path) == sidecar.sha256
        samples = read_samples(path, shard_format) if is_same else []
    except OSError as error:
        raise DamagedShard(f"{path} cannot be read ({error.strerror}): tokenize it again.") from None
    except DamagedShard as error:
        reason = str(error).rstrip(".")
        raise DamagedShard(f"{path} is not a whole token shard ({reason}): remove it and tokenize it again.") from None
    if not is_same:
        raise DamagedShard(f"{path} does not match its sidecar (SHA-256): remove it and tokenize it again.")
    return samples


def manifest_of(folder: Path) -> Manifest | None:
    """Return the manifest of a folder, or None; raise ValueError when it is damaged or names an unknown format."""
    manifest = read_manifest(folder, "put the right one back")
    if manifest is not None and manifest.format not in SHARD_FORMATS:
        raise ValueError(
            f"{folder / MANIFEST_FILE} names the shard format {manifest.format!r}, but only {' and '.join(SHARD_FORMATS)} "
            "can be read: put the right one back, or add the format to SHARD_FORMATS."
        )
    return manifest


def _in_folder(folder: Path) -> tuple[dict[Path, Sidecar | None], list[str]]:
    manifest = manifest_of(folder)
    shards: dict[Path, Sidecar | None] = {folder / sidecar.shard: sidecar for sidecar in all_sidecars(folder)}
    missing = [
        f"{path} has no sidecar, so it may not be whole: tokenize it again."
        for path in orphans(folder)
        if path not in shards
    ]
    if manifest is not None and manifest.shards > len(shards):
        missing.append(
            f"{folder / MANIFEST_FILE} counts {manifest.shards} shards, but {len(shards)} have a sidecar: tokenize again."
        )
    return shards, missing
