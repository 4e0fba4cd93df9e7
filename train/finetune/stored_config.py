"""The config in the folder of a fine-tuning: a call goes on with what the same call began, and with nothing else."""

from pathlib import Path

import yaml

from ...tokenizer.config import parse_config
from ...tokenizer.files import write_whole
from ..config_file import config_text
from .config import CONFIG_FILE, FinetuneConfig
from .stages import STAGES


def remember(config: FinetuneConfig) -> list[str]:
    """Write the config and return warnings; raise ValueError when another one has results in this folder."""
    path, text = config.out / CONFIG_FILE, config_text(config)
    warnings = []
    if any(file.is_file() for file in (config.out / STAGES).rglob("*")):
        before = _read(path)
        if before is None:
            warnings = [
                f"{path} is missing or damaged, so that it is not known whether this folder was begun by the same call."
            ]
        elif before != config:
            refused = path.with_name(CONFIG_FILE + ".refused")
            write_whole(refused, text.encode())
            raise ValueError(
                f"{config.out} holds a fine-tuning with another configuration ({CONFIG_FILE}, this call's is beside it as "
                f"{refused.name}): use another --out folder, or the call that made it."
            )
    write_whole(path, text.encode())
    return warnings


def _read(path: Path) -> FinetuneConfig | None:
    try:
        values = yaml.safe_load(path.read_bytes())
        return parse_config(FinetuneConfig, values) if isinstance(values, dict) else None
    except (FileNotFoundError, ValueError, yaml.YAMLError):
        return None
