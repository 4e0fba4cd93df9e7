"""Tokenizers that ship with the package, and where others are found: by built-in name, folder, or hf://owner/repo."""

from contextlib import suppress
from functools import partial
from pathlib import Path

from .network import hub_is_reachable

BUILT_IN = Path(__file__).parent
DEFAULT_MODEL = "photo-f8"
HUB_PREFIX = "hf://"


def find_tokenizer(model: str) -> Path:
    """Return the tokenizer folder that `model` names; only hf:// needs the network.

    Raises ValueError when there is no such tokenizer.
    """
    if model.startswith(HUB_PREFIX):
        return _hub_folder(model.removeprefix(HUB_PREFIX))
    if model in (names := built_in_names()):
        return BUILT_IN / model
    with suppress(OSError, ValueError):  # a name that is too long, or has a zero byte, is that of no folder
        if Path(model).is_dir():
            return Path(model)
    raise ValueError(
        f"There is no tokenizer {model!r}: give a built-in name ({', '.join(names)}), a tokenizer folder, or "
        "hf://owner/repo[@revision]."
    )


def built_in_names() -> list[str]:
    """Return the names of the tokenizers that ship with the package."""
    return sorted(path.name for path in BUILT_IN.iterdir() if path.is_dir() and path.name[0] not in "._")


def _hub_folder(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = repository.partition("@")
    try:
        files = ["config.json", "model.safetensors", "README.md"]
        download = partial(snapshot_download, name, revision=revision or None, allow_patterns=files)
        if not hub_is_reachable():  # or slow: what is on this machine comes at once, and only else is there a wait
            with suppress(LocalEntryNotFoundError):
                return Path(download(local_files_only=True))
        return Path(download())
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        if isinstance(error, LocalEntryNotFoundError):
            reason = "it is not on this machine, and the hub cannot be reached"
        else:
            reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"hf://{repository} could not be fetched ({reason}): check the name and the network."
        ) from None
