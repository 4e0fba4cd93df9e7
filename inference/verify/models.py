"""The tokenizer of a folder: loaded where that needs no network, or where the user names it."""

from pathlib import Path

from ...pretrained.find import built_in_names, is_tokenizer_folder
from ..api import Tokenizer, load
from ..token_shards.manifest import Manifest
from ..token_shards.store import Store


def tokenizer_of(store: Store, manifest: Manifest, named: str | None, device: str) -> Tokenizer:
    """Load the tokenizer of a folder; raise ValueError when there is none, or it makes other tokens."""
    model = named or manifest.model
    tokenizer = load(model, device).with_preprocessing(manifest.preprocessing)
    if tokenizer.fingerprint != manifest.fingerprint:
        raise ValueError(
            f"{store} holds tokens of {manifest.model}, but {model} makes others: give --model the tokenizer that made them."
        )
    return tokenizer


def tokenizer_at_hand(store: Store, manifest: Manifest, device: str) -> tuple[Tokenizer | None, str]:
    """Return the tokenizer that a manifest names, if it is on this machine, else a phrase that says why there is none."""
    model = manifest.model
    if model not in built_in_names() and not (Path(model).is_absolute() and is_tokenizer_folder(model)):
        return None, f"{model} may have to be downloaded: name it with --model"
    try:
        return tokenizer_of(store, manifest, None, device), ""
    except ValueError as error:
        return None, str(error).rstrip(".")
