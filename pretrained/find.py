"""Find a tokenizer by what users call it: a built-in name, a folder, or hf://owner/repo[@revision]."""

import difflib
from contextlib import suppress
from functools import partial
from pathlib import Path

from ..tokenizer.wording import did_you_mean
from .network import hub_is_reachable

BUILT_IN = Path(__file__).parent
DEFAULT_MODEL = "photo-f8"
HUB_PREFIX = "hf://"
CONFIG_FILE = "config.json"
RUN_CONFIG_FILE = "config.yaml"
WEIGHTS_FILE = "model.safetensors"
MARKS = ((CONFIG_FILE, WEIGHTS_FILE), (RUN_CONFIG_FILE, "checkpoints"))
"""What is in a tokenizer folder, and in the folder of a training run."""


def find_tokenizer(model: str) -> Path:
    """Return the tokenizer folder that `model` names; raise ValueError when there is none. Only hf:// needs the network."""
    if model.startswith(HUB_PREFIX):
        return _hub_folder(model.removeprefix(HUB_PREFIX))
    if model in built_in_names():
        return BUILT_IN / model
    with suppress(OSError):  # a name that is too long names no folder
        folder = Path(model)
        if "\0" not in model and folder.is_dir():
            _check_no_run_folder(folder)
            return folder
    names = built_in_names()
    near = difflib.get_close_matches(model.lower(), names, n=1)
    otherwise = f"give a built-in name ({', '.join(names)}), a tokenizer folder, or {HUB_PREFIX}owner/repo[@revision]."
    raise ValueError(f"There is no tokenizer {model!r}: {did_you_mean(near[0] if near else None, otherwise)}")


def names_tokenizer(text: str) -> bool:
    """Return whether a text names a tokenizer, or the folder of a training run. Needs no network."""
    return text.startswith(HUB_PREFIX) or text in built_in_names() or is_tokenizer_folder(text)


def is_tokenizer_folder(text: str) -> bool:
    """Return whether a text is the path of a tokenizer folder, or of the folder of a training run."""
    with suppress(OSError, ValueError):  # a name that is too long, or has a null character
        return any(all((Path(text) / name).exists() for name in names) for names in MARKS)
    return False


def built_in_names() -> list[str]:
    """Return the names of the tokenizers that ship with the package."""
    return sorted(path.parent.name for path in BUILT_IN.glob(f"*/{CONFIG_FILE}"))


def _check_no_run_folder(folder: Path) -> None:
    """Raise ValueError for the run folder of a training, whose tokenizer is in a folder within it."""
    if (folder / CONFIG_FILE).is_file() or not (folder / RUN_CONFIG_FILE).is_file():
        return
    if (folder / "export" / CONFIG_FILE).is_file():
        raise ValueError(f"{folder} is a training run, not a tokenizer: give {folder / 'export'}.")
    raise ValueError(
        f"{folder} is a training run that has exported no tokenizer yet: run export-tokenizer {folder} --out FOLDER, and give "
        "that folder."
    )


def _hub_folder(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    given, (name, _, revision) = f"{HUB_PREFIX}{repository}", repository.partition("@")
    files = [CONFIG_FILE, WEIGHTS_FILE, "README.md"]
    download = partial(snapshot_download, name, revision=revision or None, allow_patterns=files)
    folder = ""
    try:
        if not hub_is_reachable():  # then the cache answers at once, and only what is not in it waits for a slow hub
            with suppress(LocalEntryNotFoundError):
                folder = download(local_files_only=True)
        folder = folder or download()
    except HFValidationError:
        raise ValueError(f"{given} is no name of the hub: give {HUB_PREFIX}owner/repo[@revision].") from None
    except LocalEntryNotFoundError:
        raise ValueError(
            f"{given} is not in the cache of this machine, and the hub cannot be reached: connect to the network, or give a "
            "tokenizer folder."
        ) from None
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ValueError(
            f"{given} could not be downloaded ({reason}): check the name, the revision and your access."
        ) from None
    if not (Path(folder) / CONFIG_FILE).is_file():
        raise ValueError(
            f"{given} holds no vistok tokenizer: it has no {CONFIG_FILE}. Checkpoints of other projects need import-tokenizer."
        )
    return Path(folder)
