"""The config of a fine-tuning in its folder, by which a later call knows whether it may go on there."""

from pathlib import Path
from typing import Any

import yaml

from ...tokenizer.config import parse_config
from ...tokenizer.files import write_whole
from ..config_file import config_text
from .config import FinetuneConfig
from .decoder_config import RECIPE_NAMES, GenerativeConfig

CONFIG_FILE = "finetune.yaml"
STAGES_FOLDER = "stages"


def check_stored(config: FinetuneConfig) -> list[str]:
    """Return warnings about the config of an earlier call; raise ValueError if the folder holds results of another one."""
    path = config.out / CONFIG_FILE
    if not any(file.is_file() for file in (config.out / STAGES_FOLDER).rglob("*")):
        return []
    before = read_stored(config.out)
    if before is None:
        return [f"{path} is missing or damaged, so this folder may hold the results of another call."]
    if _work(before, config.out) != _work(config, config.out):
        refused = path.with_name(CONFIG_FILE + ".refused")
        write_whole(refused, config_text(config).encode())
        raise ValueError(
            f"{config.out} holds a fine-tuning with another configuration (see {CONFIG_FILE}; that of this call is in "
            f"{refused.name}): use another --out folder, or repeat the original call."
        )
    return []


def store_config(config: FinetuneConfig) -> None:
    """Write the config of a call that can work: later calls take over what a refused one must not leave."""
    write_whole(config.out / CONFIG_FILE, config_text(config).encode())


def _work(config: FinetuneConfig, out: Path) -> FinetuneConfig:
    """Return a config without what may still change: a decoder's stages that have not begun, and how it is judged."""
    if config.generative is None:
        return config
    later = [name for name in RECIPE_NAMES if not (out / STAGES_FOLDER / name).exists()]
    fresh = GenerativeConfig()
    update: dict[str, Any] = {name: getattr(fresh, name) for name in [*later, "recipe", "evaluated", "judge"]}
    return config.model_copy(update={"generative": config.generative.model_copy(update=update)})


def read_stored(out: Path) -> FinetuneConfig | None:
    """Return the config that an earlier call wrote to its folder; None if there is none, or it is damaged."""
    try:
        values = yaml.safe_load((out / CONFIG_FILE).read_bytes())
        return parse_config(FinetuneConfig, values) if isinstance(values, dict) else None
    except (FileNotFoundError, ValueError, yaml.YAMLError):
        return None
