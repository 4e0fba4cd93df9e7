"""DIR/manifest.json: what all token shards of a folder have in common, and their totals."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from ...pretrained.find import built_in_names
from ...tokenizer.config import Config
from ...tokenizer.preprocessing import PreprocessingConfig
from ..api import Tokenizer
from ..inputs.views import ONE_ROW, Views
from .formats import SHARD_FORMATS
from .sidecar import MANIFEST_FILE, Sidecar, sidecars, to_json
from .store import Store, write_file
from .token_samples import token_dtype

NOT_ENDED = "is of a tokenize-images command that has not ended, so shards may be missing"
"""What is wrong with a folder that looks whole, and was not made to the end."""


class Manifest(Config):
    """What all shards of a folder have in common, and their totals."""

    schema_version: Literal[4] = 4
    model: str
    """The tokenizer as it was named: a built-in name, the path of a folder, or hf://owner/repo."""
    fingerprint: str
    precision: str
    """float32, or what --fast calculated in, such as bfloat16-compiled-8, whose tokens differ in a few positions."""
    format: str
    keep: str
    """Which companion files were carried over: all, none, or extensions."""
    vocab_size: int
    num_codebooks: int
    """Tokens per position."""
    downsample: int
    """Pixels along one side of a token."""
    dtype: str
    preprocessing: PreprocessingConfig
    views: Views = Views()
    """Which rows an image becomes."""
    shards: int = 0
    images: int = 0
    rows: int = 0
    """Samples in the shards: several for an image with views."""
    failures: int = 0
    """Images that could not be used; each has a row in its shard's sidecar."""
    has_ended: bool = True
    """Whether the last call with shards to make came to its end: False while it makes them, and after a kill."""


def new_manifest(
    tokenizer: Tokenizer, model: str, precision: str, shard_format: str, keep: str, views: Views = ONE_ROW
) -> Manifest:
    """Return the manifest of a folder for the shards of a tokenizer."""
    is_folder = model not in built_in_names() and Path(model).is_dir()
    return Manifest(
        model=str(Path(model).absolute()) if is_folder else model,
        fingerprint=tokenizer.fingerprint,
        precision=precision,
        format=shard_format,
        keep=keep,
        vocab_size=tokenizer.vocab_size,
        num_codebooks=tokenizer.num_codebooks,
        downsample=tokenizer.downsample,
        dtype=token_dtype(tokenizer.vocab_size).name,
        preprocessing=tokenizer.config.preprocessing,
        views=views,
    )


def write_manifest(store: Store, manifest: Manifest) -> Manifest:
    """Write manifest.json with totals over the whole shards of the folder, and return it."""
    totals: Counter[str] = Counter(shards=0, images=0, rows=0, failures=0)
    for sidecar in sidecars(store):
        totals.update(shards=1, images=sidecar.images, rows=sidecar.rows, failures=len(sidecar.failures))
    manifest = manifest.model_copy(update=totals)
    write_file(store, MANIFEST_FILE, to_json(manifest))
    return manifest


def is_packed(content: bytes) -> bool:
    """Return whether a manifest is one of packed sequences, whole or damaged."""
    return b'"packed-sequences"' in content[:200]


def read_manifest(store: Store, remedy: str = "use another --out folder") -> Manifest | None:
    """Return the manifest of a folder, or None when it has none; raise ValueError, ending in `remedy`, when it is damaged."""
    if store.size(MANIFEST_FILE) is None:
        return None
    content = store.read(MANIFEST_FILE)
    if is_packed(content):
        raise ValueError(f"{store} holds packed sequences, not tokens: give another folder.")
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors()[0]
        what = ": ".join(filter(None, [".".join(map(str, problem["loc"])), problem["msg"]]))
        raise ValueError(
            f"{store.path_of(MANIFEST_FILE)} is not a manifest of this vistok ({what}): {remedy}."
        ) from None


def manifest_of(store: Store) -> Manifest | None:
    """Return the manifest of a folder, or None; raise ValueError when it is damaged, or its format cannot be read here."""
    manifest = read_manifest(store, "put the right one back")
    if manifest is not None and manifest.format not in SHARD_FORMATS:
        raise ValueError(
            f"{store.path_of(MANIFEST_FILE)} names the shard format {manifest.format!r}, but only "
            f"{', '.join(SHARD_FORMATS)} can be read: put the right one back, or add the format to SHARD_FORMATS."
        )
    if manifest is not None:
        SHARD_FORMATS[manifest.format].require()
    return manifest


def check_same(before: Manifest | None, manifest: Manifest, store: Store) -> None:
    """Raise ValueError, naming what differs, when a folder was made with other settings."""
    differences = _differences(before, manifest) if before else []
    if before and differences:
        remedies = ["use another --out folder", "or --overwrite"]
        if _batch_differs(before, manifest):
            remedies.insert(0, "leave out --batch-size and --max-batch-tokens")
        raise ValueError(f"{store} was made with {' and '.join(differences)}: {', '.join(remedies)}.")


def check_shard(sidecar: Sidecar, manifest: Manifest, store: Store) -> None:
    """Raise ValueError when a shard is of another tokenizer or other settings, as its folder may have lost its manifest."""
    found = settings_that_differ(sidecar, manifest)
    made = f"with {' and '.join(found)}" if found else f"by another tokenizer than {manifest.model}"
    if found or sidecar.fingerprint != manifest.fingerprint:
        raise ValueError(f"{store.path_of(sidecar.shard)} was made {made}: use another --out folder, or --overwrite.")


def settings_that_differ(sidecar: Sidecar, manifest: Manifest) -> list[str]:
    """Say which settings of a shard are not those of its folder."""
    return _that_differ(_options(sidecar), _options(manifest))


def _batch_differs(before: Manifest, now: Manifest) -> bool:
    """Return whether two precisions of --fast differ in nothing but their last part, the size of the batches."""
    (old, _, old_size), (new, _, new_size) = (each.precision.rpartition("-") for each in (before, now))
    return old == new != "" and old_size != new_size


def _differences(before: Manifest, now: Manifest) -> list[str]:
    found = _that_differ(_settings(before), _settings(now))
    if before.fingerprint == now.fingerprint or (found and before.model == now.model):
        return found
    if before.model == now.model:
        return [f"another version of {before.model}"]
    return [f"the model {before.model}, not {now.model}", *found]


def _settings(manifest: Manifest) -> dict[str, object]:
    return manifest.preprocessing.model_dump() | {"--format": manifest.format} | _options(manifest)


def _options(made: Manifest | Sidecar) -> dict[str, str]:
    return {"precision": made.precision, "--keep": made.keep} | made.views.options()


def _that_differ(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    return [f"{name} {old[name]}, not {new[name]}" for name in old if old[name] != new[name]]
