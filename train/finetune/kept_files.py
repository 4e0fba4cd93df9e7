"""Files that a fine-tuning keeps in its folder, so that the same call can resume it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ...tokenizer.config import parse_config
from ...tokenizer.files import write_whole
from ..checkpoints.checked_file import load_checked, save_checked
from ..config_file import config_text
from .config import FinetuneConfig

CONFIG_FILE = "finetune.yaml"
STAGES_FOLDER = "stages"
LATENTS_FILE = "latents.pt"
FIT_FILE = "fit.pt"


class KeptFile(NamedTuple):
    """Tensors and plain values, valid only under the key they were saved with."""

    path: Path
    key: str
    warn: Callable[[str], None]

    def load(self, if_damaged: str) -> dict[str, Any] | None:
        """Return the values, or None if there are none for this key; a damaged file is a warning with `if_damaged`."""
        try:
            found = load_checked(self.path)
        except ValueError as error:
            self.warn(f"{error} {if_damaged}")
            return None
        return found if found is not None and found["key"] == self.key else None

    def save(self, **values: Any) -> None:
        """Write the values; raise OSError."""
        save_checked(self.path, {"key": self.key, **values})


def store_config(config: FinetuneConfig) -> list[str]:
    """Write the config and return warnings; raise ValueError if the folder holds results of another config."""
    path, text = config.out / CONFIG_FILE, config_text(config)
    warnings = []
    if any(file.is_file() for file in (config.out / STAGES_FOLDER).rglob("*")):
        before = _read_config(path)
        if before is None:
            warnings = [f"{path} is missing or damaged, so this folder may hold the results of another call."]
        elif before != config:
            refused = path.with_name(CONFIG_FILE + ".refused")
            write_whole(refused, text.encode())
            raise ValueError(
                f"{config.out} holds a fine-tuning with another configuration (see {CONFIG_FILE}; that of this call is in "
                f"{refused.name}): use another --out folder, or repeat the original call."
            )
    write_whole(path, text.encode())
    return warnings


def _read_config(path: Path) -> FinetuneConfig | None:
    try:
        values = yaml.safe_load(path.read_bytes())
        return parse_config(FinetuneConfig, values) if isinstance(values, dict) else None
    except (FileNotFoundError, ValueError, yaml.YAMLError):
        return None
