"""Load a tokenizer by its name."""

from pathlib import Path

from ..tokenizer.folder.config_json import AGAIN
from ..tokenizer.folder.decoders import load_decoders
from ..tokenizer.folder.save_load import LoadedTokenizer, load_tokenizer
from .cache import cache_home
from .find import HUB_PREFIX, find_tokenizer
from .kept import FOLDER


def load_found(model: str) -> LoadedTokenizer:
    """Load a tokenizer by its name, without extra decoders; raise ValueError when there is none, or its files are damaged."""
    return load_from(model, find_tokenizer(model))


def load_with_decoders(model: str) -> LoadedTokenizer:
    """Load a tokenizer as `load_found` does, and all its extra decoders that can be loaded."""
    folder = find_tokenizer(model)
    loaded = load_from(model, folder)
    load_decoders(folder, loaded.model)
    return loaded


def load_from(model: str, folder: Path) -> LoadedTokenizer:
    """Load the tokenizer folder in which a name was found; raise ValueError when its files are damaged."""
    try:
        return load_tokenizer(folder)
    except ValueError as error:
        said = str(error)
        if folder.is_relative_to(cache_home() / FOLDER):
            copy = folder
        elif model.startswith(HUB_PREFIX) and said.endswith(AGAIN):
            copy = folder.parents[1]  # with the contents, to which the files of a commit are links
        else:
            raise
        why = said.removesuffix(AGAIN).rstrip(" .:")
        raise ValueError(
            f"The copy of {model} on this machine is damaged ({why}): remove {copy} and load it again."
        ) from None
