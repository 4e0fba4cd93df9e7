"""DIR/manifest.json of packed sequences: what all shards of a folder have in common, and their totals."""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from pydantic import ValidationError

from ...sequences.text import TextTokenizer
from ...tokenizer.config import Config
from ..token_shards.manifest import Manifest, is_packed
from ..token_shards.sidecar import MANIFEST_FILE, to_json
from ..token_shards.store import Store, write_file
from .formats import PACKED_FORMATS
from .sidecar import Counts, PackedSidecar, packed_sidecars


class PackSettings(Config):
    """What decides the ids, beside the tokens."""

    text_tokenizer: str
    """Digest of the text tokenizer."""
    vocabulary: str
    """SHA-256 of vocabulary.json."""
    layout: str
    layout_options: dict[str, bool | int | str | tuple[int, ...]] = {}
    template: str
    caption: str
    """The member that {caption} stands for."""
    bos: int | None
    eos: int | None
    pad: int | None
    length: int | None
    """Ids of a row; None for one document a row."""
    on_missing: str
    loss: str
    mask_at: str
    format: str
    dtype: str
    """Type of the ids on disk."""

    def options(self, name_of: Callable[[int], str]) -> dict[str, str]:
        """Return the settings as users type them; `name_of` returns the name of a token."""
        named = {"text_tokenizer": "the text tokenizer", "vocabulary": "the vocabulary"}
        values = {}
        for name in PackSettings.model_fields:
            value = getattr(self, name)
            if name in named:
                values[named[name]] = value[:12]
            elif name in ("bos", "eos", "pad") and value is not None:
                values[f"--{name}"] = name_of(value)
            elif name != "dtype":
                option = "layout_option" if name == "layout_options" else name
                values[f"--{option.replace('_', '-')}"] = "none" if value in (None, {}) else str(value)
        return values


class PackedManifest(Config):
    """What all packed shards of a folder have in common, and their totals."""

    schema_version: Literal[1] = 1
    kind: Literal["packed-sequences"] = "packed-sequences"
    tokens: Manifest
    """That of the token shards, without its totals."""
    text_tokenizer: str
    """The text tokenizer as it was named: a file, a folder, or a name of tiktoken."""
    is_extended: bool = False
    """Whether codes and structure were added to it, which tokenizer.json beside has."""
    tokenizer_file: str | None = None
    """SHA-256 of that file."""
    settings: PackSettings
    shards: int = 0
    skipped: int = 0
    failures: int = 0
    counts: Counts = Counts()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides the bytes of a shard, beside its inputs."""
        facts = {
            "tokens": self.tokens.model_dump(mode="json", exclude={"model"}),
            "settings": self.settings.model_dump(),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def without_totals(manifest: Manifest) -> Manifest:
    """Return a manifest of token shards as packed ones have it."""
    return manifest.model_copy(update={"shards": 0, "images": 0, "rows": 0, "failures": 0})


def write_packed_manifest(store: Store, manifest: PackedManifest) -> PackedManifest:
    """Write manifest.json with totals over the whole shards of the folder, and return it."""
    sizes = store.sizes()
    manifest = manifest.model_copy(
        update=totals([each for each in packed_sidecars(store, sizes) if each.is_whole(sizes)])
    )
    write_file(store, MANIFEST_FILE, to_json(manifest))
    return manifest


def totals(sidecars: list[PackedSidecar]) -> dict[str, Any]:
    """Return the totals of some shards, by the names of the manifest."""
    return {
        "shards": len(sidecars),
        "skipped": sum(len(sidecar.skipped) for sidecar in sidecars),
        "failures": sum(len(sidecar.failures) for sidecar in sidecars),
        "counts": sum((sidecar.counts for sidecar in sidecars), Counts()),
    }


def read_packed_manifest(store: Store) -> PackedManifest | None:
    """Return the manifest of a folder, or None when it has none; raise ValueError when it is another, or damaged."""
    if store.size(MANIFEST_FILE) is None:
        return None
    content = store.read(MANIFEST_FILE)
    if not is_packed(content):
        raise ValueError(f"{store} does not hold packed sequences, as its {MANIFEST_FILE} says: give another folder.")
    try:
        manifest = PackedManifest.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors()[0]
        what = ": ".join(filter(None, [".".join(map(str, problem["loc"])), problem["msg"]]))
        raise ValueError(
            f"{store.path_of(MANIFEST_FILE)} is not a manifest of this vistok ({what}): put the right one back."
        ) from None
    if manifest.settings.format not in PACKED_FORMATS:
        raise ValueError(
            f"{store.path_of(MANIFEST_FILE)} names the format {manifest.settings.format!r}, but only "
            f"{', '.join(PACKED_FORMATS)} can be read: put the right one back, or add the format to PACKED_FORMATS."
        )
    PACKED_FORMATS[manifest.settings.format].require()
    return manifest


def check_same_packing(before: PackedManifest | None, now: PackedManifest, text: TextTokenizer, store: Store) -> None:
    """Raise ValueError, naming what differs, when a folder was made with other settings; `text` has the names of tokens."""
    if before is None or before.fingerprint == now.fingerprint:
        return
    is_same = before.settings.text_tokenizer == now.settings.text_tokenizer
    old, new = (
        before.settings.options(partial(_name, text) if is_same else str),
        now.settings.options(partial(_name, text)),
    )
    found = [f"{name} {old[name]}, not {new[name]}" for name in old if old[name] != new[name]]
    if before.tokens.fingerprint != now.tokens.fingerprint:
        found.insert(0, f"tokens of {before.tokens.model} ({before.tokens.fingerprint[:12]}), not {now.tokens.model}")
    what = " and ".join(found) or "token shards of other settings"
    raise ValueError(f"{store} was made with {what}: use another --out folder, or --overwrite.")


def _name(text: TextTokenizer, number: int) -> str:
    try:
        return text.decode([number])
    except ValueError:
        return str(number)
