"""Find a tokenizer by what users call it: a built-in name, a folder, a public name, or hf://owner/repo[@revision]."""

import difflib
import os
import re
from contextlib import suppress
from pathlib import Path

from ..tokenizer.wording import did_you_mean
from .public import PUBLIC

BUILT_IN = Path(__file__).parent
DEFAULT_MODEL = "photo-f8"
HUB_PREFIX = "hf://"
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"
DECODER_FILES = (f"decoders/*/{CONFIG_FILE}", f"decoders/*/{WEIGHTS_FILE}")
MODEL_HELP = (
    "Built-in name, tokenizer folder, public name such as emu3.5 or llamagen-vq16 (vistok.list_models() lists them), or "
    f"{HUB_PREFIX}owner/repo."
)
REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w.-]+")
RUN_CONFIG_FILE = "config.yaml"
MARKS = ((CONFIG_FILE, WEIGHTS_FILE), (RUN_CONFIG_FILE, "checkpoints"))
"""What is in a tokenizer folder, and in the folder of a training run."""


def find_tokenizer(model: str) -> Path:
    """Return the tokenizer folder that `model` names; raise ValueError when there is none.

    Public names NAME[@REVISION] and hf:// need the network the first time.
    """
    if model.startswith(HUB_PREFIX):
        return _hub_folder(model)
    if model in built_in_names():
        return BUILT_IN / model
    name, _, revision = model.partition("@")
    with suppress(OSError):  # a name that is too long names no folder
        folder = Path(model)
        # A folder may have the name of a public tokenizer because its tokens are in it.
        if "\0" not in model and (folder / CONFIG_FILE if name in PUBLIC else folder).exists() and folder.is_dir():
            _check_no_run_folder(folder)
            return folder
    if name in PUBLIC:
        from .imported import imported  # late, as what it needs takes a while

        return imported(name, PUBLIC[name], revision or None)
    otherwise = (
        f"give a built-in name ({', '.join(built_in_names())}), a public name such as emu3.5 (vistok.list_models() lists "
        f"them), a tokenizer folder, or {HUB_PREFIX}owner/repo[@revision]."
    )
    raise ValueError(f"There is no tokenizer {model!r}: {did_you_mean(_meant(model), otherwise)}")


def with_hub_prefix(model: str) -> str:
    """Return the name of a tokenizer, where owner/repo[@revision] is one of the hub unless it is a path that there is."""
    is_repository = REPOSITORY.fullmatch(model.partition("@")[0]) is not None
    return f"{HUB_PREFIX}{model}" if is_repository and not os.path.lexists(model) else model


def names_tokenizer(text: str) -> bool:
    """Return whether a text names a tokenizer, or the folder of a training run. Needs no network."""
    is_name = text in built_in_names() or text.partition("@")[0] in PUBLIC
    return is_name or text.startswith(HUB_PREFIX) or is_tokenizer_folder(text)


def is_tokenizer_folder(text: str) -> bool:
    """Return whether a text is the path of a tokenizer folder, or of the folder of a training run."""
    with suppress(OSError, ValueError):  # a name that is too long, or has a null character
        return any(all((Path(text) / name).exists() for name in names) for names in MARKS)
    return False


def built_in_names() -> list[str]:
    """Return the names of the tokenizers that ship with the package."""
    return sorted(path.parent.name for path in BUILT_IN.glob(f"*/{CONFIG_FILE}"))


def _meant(model: str) -> str | None:
    repository = model.partition("@")[0]
    if held := _names_in(repository):
        return held[0]
    if REPOSITORY.fullmatch(repository):
        return f"{HUB_PREFIX}{model}"
    names = [*built_in_names(), *PUBLIC]
    return next(iter(difflib.get_close_matches(repository.lower().replace("_", "-"), names, n=1)), None)


def _names_in(repository: str) -> list[str]:
    """Return the public names of the checkpoints of a repository of the hub."""
    return [name for name, entry in PUBLIC.items() if entry.repository == repository]


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


def _hub_folder(given: str) -> Path:
    from .hub import download  # late, as it brings the client of the hub
    from .hub_errors import NoSuchFileError, Repository

    name, _, revision = given.removeprefix(HUB_PREFIX).partition("@")
    if not REPOSITORY.fullmatch(name):
        raise ValueError(f"{given} is no name of the hub: give {HUB_PREFIX}owner/repo[@revision].")
    if names := _names_in(name):
        raise ValueError(
            f"{given} holds a checkpoint that vistok imports by its public name: give {' or '.join(map(repr, names))}."
        )
    repository = Repository(name, revision or "main", given, "give a tokenizer folder")
    try:
        config = download(repository, [CONFIG_FILE])
        if not is_ours(config.folder / CONFIG_FILE):
            raise NoSuchFileError
        whole = [CONFIG_FILE, WEIGHTS_FILE], [CARD_FILE, *DECODER_FILES]
        return download(repository._replace(revision=config.commit), *whole).folder
    except NoSuchFileError:
        raise ValueError(
            f"{given} holds no vistok tokenizer: it has no {CONFIG_FILE} of one, or no {WEIGHTS_FILE}. Checkpoints of other "
            "projects need import-tokenizer."
        ) from None


def is_ours(config: Path) -> bool:
    """Return whether there is a config.json of a tokenizer, damaged or not, and not of another library."""
    with suppress(OSError):
        return '"format_version"' in config.read_text(errors="replace")
    return False
