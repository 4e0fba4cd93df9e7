"""Token shards on disk: DIR/manifest.json, and for each shard NAME.tar with its sidecar NAME.json, written last.

A shard is done if and only if its sidecar is there and its fingerprint agrees. A tar holds, for each picture, KEY.tokens.npy
(`q y x`, the smallest unsigned integers that hold the vocabulary) and KEY.json; its bytes depend on the pictures and the
tokenizer alone.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import webdataset
from pydantic import ValidationError

from ..tokenizer.config import Config
from ..tokenizer.files import write_whole

SCHEMA_VERSION = 1
MANIFEST_FILE = "manifest.json"
TOKENS_ENDING = ".tokens.npy"


class Failure(Config):
    """A picture that could not be used."""

    key: str
    source: str
    reason: str


class Sidecar(Config):
    """What one shard holds."""

    schema_version: int = SCHEMA_VERSION
    """Version of this layout."""
    shard: str
    """File name of the shard."""
    fingerprint: str
    """Fingerprint of the tokenizer that made it."""
    inputs: str
    """SHA-256 of the names and sizes of what went in."""
    pictures: int
    """Pictures in the shard."""
    failures: list[Failure]
    """Pictures that could not be used."""
    sha256: str
    """SHA-256 of the shard's bytes."""
    size: int
    """Bytes of the shard."""


class TokenSample(NamedTuple):
    """One picture of a shard."""

    key: str
    tokens: np.ndarray
    """`q y x`."""
    facts: dict[str, Any]
    """Content of KEY.json: source, width and height of the upright original."""


def to_json(config: Config) -> bytes:
    """Return the text of a manifest or sidecar."""
    return (config.model_dump_json(indent=2) + "\n").encode()


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """Return the smallest unsigned integer type that holds tokens below `vocab_size`."""
    return np.dtype(np.min_scalar_type(vocab_size - 1))


def write_shard(
    folder: Path, name: str, samples: list[TokenSample], failures: list[Failure], fingerprint: str, inputs: str
) -> Sidecar:
    """Write a shard and then its sidecar, each aside first, then renamed; raise OSError when the disk refuses."""
    buffer = io.BytesIO()
    with webdataset.TarWriter(buffer, mtime=0, user="vistok", group="vistok") as writer:
        for sample in samples:
            writer.write({"__key__": sample.key, "tokens.npy": sample.tokens, "json": sample.facts})
    content = buffer.getvalue()
    sidecar = Sidecar(
        shard=f"{name}.tar",
        fingerprint=fingerprint,
        inputs=inputs,
        pictures=len(samples),
        failures=failures,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )
    write_whole(folder / sidecar.shard, content)
    write_whole(folder / f"{name}.json", to_json(sidecar))
    return sidecar


def read_sidecar(folder: Path, name: str) -> Sidecar | None:
    """Return the sidecar of a shard, or None when it, or the whole shard it describes, is not there."""
    path = folder / f"{name}.json"
    try:
        sidecar = Sidecar.model_validate_json(path.read_bytes())
        return sidecar if os.path.getsize(folder / sidecar.shard) == sidecar.size else None
    except (FileNotFoundError, ValidationError):
        return None


def sidecars(folder: Path) -> list[Sidecar]:
    """Return the sidecars of all shards of a folder that are whole, by name."""
    found = (read_sidecar(folder, path.stem) for path in sorted(folder.glob("*.json")) if path.name != MANIFEST_FILE)
    return [sidecar for sidecar in found if sidecar is not None]


def remove_shards(folder: Path) -> None:
    """Remove the manifest and every shard that has a sidecar, the sidecar first; nothing else is touched."""
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    for sidecar in sidecars(folder):
        (folder / sidecar.shard).with_suffix(".json").unlink()
        (folder / sidecar.shard).unlink()


def read_samples(shard: Path) -> Iterator[TokenSample]:
    """Yield the samples of a token shard in their order; raise ValueError when it is damaged."""
    try:
        with tarfile.open(shard, "r:") as tar:
            facts: dict[str, bytes] = {}
            for member in tar:
                file = tar.extractfile(member)
                content = file.read() if file else b""
                if member.name.endswith(".json"):
                    facts[member.name.removesuffix(".json")] = content
                elif member.name.endswith(TOKENS_ENDING):
                    key = member.name.removesuffix(TOKENS_ENDING)
                    tokens = np.load(io.BytesIO(content), allow_pickle=False)
                    yield TokenSample(key, tokens, json.loads(facts.pop(key, b"{}")))
    except (tarfile.TarError, ValueError, EOFError, OSError) as error:
        raise ValueError(f"{shard} is not a whole token shard ({error}): tokenize it again.") from None
