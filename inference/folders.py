"""A tokenizer as a folder: loaded by its name, saved, and uploaded to the Hugging Face hub."""

import tempfile
from pathlib import Path

import torch

from ..pretrained.find import find_tokenizer
from ..pretrained.hub_upload import upload_folder
from ..tokenizer.folder.config_json import TokenizerConfig
from ..tokenizer.folder.save_load import LoadedTokenizer, load_tokenizer, save_tokenizer
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
    loaded = load_tokenizer(find_tokenizer(model))
    loaded.model.cast_networks(dtype)
    return loaded


def save(folder: Path, model: VisualTokenizer, config: TokenizerConfig, name: str = "") -> None:
    """Write a tokenizer folder; raise ValueError for a model in half precision, and OSError.

    `name` is what `vistok.load` will find it by, on the card; the folder itself if it is empty.
    """
    if model.dtype != torch.float32:
        raise ValueError(f"The weights are rounded to {model.dtype}: load the tokenizer in float32 to save it.")
    card = _card(config, name or str(folder))
    save_tokenizer(
        folder, model, config.architecture, config.preprocessing, card, with_training_state=True, origin=config.origin
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


def upload(model: VisualTokenizer, config: TokenizerConfig, repo: str, private: bool) -> str:
    """Upload a tokenizer folder, and return the URL of the commit; raise ValueError when that fails."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), model, config, f"hf://{repo}")
        return upload_folder(Path(folder), repo, private)
