"""A tokenizer as a folder: loaded by its name, saved, and uploaded to the Hugging Face hub."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch

from ..pretrained.cache import FULL
from ..pretrained.find import REPOSITORY, is_ours
from ..pretrained.hub_upload import upload_folder
from ..pretrained.load_found import load_with_decoders
from ..tokenizer.errors import WorkFailedError
from ..tokenizer.folder.card import is_by_vistok
from ..tokenizer.folder.config_json import CONFIG_FILE, TokenizerConfig
from ..tokenizer.folder.decoders import other_decoders
from ..tokenizer.folder.replacing import finish_replacing
from ..tokenizer.folder.save_load import CARD_FILE, WEIGHTS_FILE, LoadedTokenizer, save_tokenizer
from ..tokenizer.model import VisualTokenizer

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def load_named(model: str, dtype: torch.dtype) -> LoadedTokenizer:
    """Load a tokenizer by its name; raise ValueError for a name or type that there is not, or damaged files."""
    if not model:
        raise ValueError(
            "load got an empty name: give a built-in or public name, a tokenizer folder, or hf://owner/repo."
        )
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype}, but must be {' or '.join(map(str, DTYPES))}.")
    loaded = load_with_decoders(model)
    loaded.model.cast_networks(dtype)
    return loaded


def save(folder: Path, model: VisualTokenizer, config: TokenizerConfig, name: str = "") -> None:
    """Write a tokenizer folder, with all extra decoders; others that are there stay.

    Raises ValueError for a model in half precision, one with a decoder that could not be loaded, a folder of something else,
    or one whose other decoders do not fit the model, and WorkFailedError when the disk refuses.

    `name` is what `vistok.load` will find it by, on the card; the folder itself if it is empty.
    """
    if model.dtype != torch.float32:
        raise ValueError(f"The weights are rounded to {model.dtype}: load the tokenizer in float32 to save it.")
    if model.broken_decoders:
        raise ValueError(
            f"The decoder {next(iter(model.broken_decoders))} could not be loaded, and would be lost: mend it, or remove its "
            "folder, and load the tokenizer again to save it."
        )
    try:
        _check_target(folder)
        others = other_decoders(folder, model)
        card = _card(config, name or str(folder)) + _decoder_lines([*model.decoders, *others])
        settings = config.architecture, config.preprocessing, card
        save_tokenizer(folder, model, *settings, with_training_state=True, origin=config.origin)
    except OSError as error:
        what = "the disk is full: make room" if error.errno in FULL else f"{error.strerror}: check the disk"
        raise WorkFailedError(
            f"The tokenizer could not be saved in {folder} ({what}, and save it again). What was there before is unchanged."
        ) from None


def _check_target(folder: Path) -> None:
    """Raise ValueError unless a folder is, or can become, that of a tokenizer."""
    if "\0" in str(folder):
        raise ValueError(
            f"The tokenizer cannot be saved in {str(folder)!r}, which has a NUL byte as no name can have: give another."
        )
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise ValueError(f"The tokenizer cannot be saved in {folder}: {nearest} is no folder. Give another.")
    finish_replacing(folder)
    if is_ours(folder / CONFIG_FILE) or (is_by_vistok(folder / CARD_FILE) and not (folder / CONFIG_FILE).exists()):
        return
    for name in (CARD_FILE, CONFIG_FILE, WEIGHTS_FILE):
        if os.path.lexists(folder / name):
            raise ValueError(
                f"{folder} has a {name} that is not of a tokenizer: give a new folder, or remove the file."
            )


def _card(config: TokenizerConfig, name: str) -> str:
    card = f"""# {Path(name).name}

A visual tokenizer of [vistok](https://github.com/vistok/vistok): {config.quantizer.name} quantizer, \
{config.architecture.coverage}.

```python
import vistok

tok = vistok.load({name!r})
tokens = tok.encode("photo.jpg")  # q y x for each image
images = tok.decode(tokens)
```
"""
    origin = config.origin
    if origin is None:
        return card
    where = f" (`{origin.repository}`)" if origin.repository else ""
    return f"""{card}
Its weights come from `{origin.checkpoint}`{where}, a checkpoint for the code at {origin.source}.
Licence of the original weights: {origin.licence}.
"""


def _decoder_lines(names: Iterable[str]) -> str:
    """Return what a card says of extra decoders."""
    lines = [f'    images = tok.decode(tokens, decoder="{name}", seed=0)\n' for name in names]
    return "\nOther decoders of the same tokens, whose answers depend on a seed:\n\n" + "".join(lines) if lines else ""


def upload(model: VisualTokenizer, config: TokenizerConfig, repo: str, private: bool) -> str:
    """Upload a tokenizer folder, and return the URL of the commit; raise ValueError when that fails."""
    if not REPOSITORY.fullmatch(repo):
        raise ValueError(f"push_to_hub got {repo!r}: give OWNER/REPO.")
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), model, config, f"hf://{repo}")
        return upload_folder(Path(folder), repo, private)
