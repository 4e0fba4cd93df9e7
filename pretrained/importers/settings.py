"""Settings of an imported tokenizer that its checkpoint does not show, given by hand as KEY=VALUE."""

import json
from collections.abc import Sequence
from typing import Any

from ...tokenizer.config import parse_config
from ...tokenizer.folder.config_json import TokenizerConfig

RECORDED = ("format_version", "origin")
"""Sections of a config that say what was imported, which nobody else may."""


def with_settings(config: TokenizerConfig, settings: Sequence[str]) -> TokenizerConfig:
    """Return a config with settings such as `preprocessing.size=512`; values are JSON, or else text.

    Raises ValueError when one does not have that form, and ConfigError when a key or value is not allowed.
    """
    if not settings:
        return config
    values = config.model_dump(mode="json")
    for setting in settings:
        _set(values, setting)
    return parse_config(TokenizerConfig, values)


def last_of_each(settings: Sequence[str]) -> list[str]:
    """Return the settings that count where a key is given more than once: the last of each."""
    return list({setting.partition("=")[0]: setting for setting in settings}.values())


def _set(values: dict[str, Any], setting: str) -> None:
    key, separator, text = setting.partition("=")
    *sections, last = key.split(".")
    if not separator or not all([*sections, last]):
        raise ValueError(f"--set is {setting!r}, but must be KEY=VALUE, such as preprocessing.size=512.")
    section = key.split(".")[0]
    if section in RECORDED:
        raise ValueError(
            f"--set is {setting!r}, but {section} is what vistok records about the import, not a setting: leave it out."
        )
    owner = values
    for section in sections:
        if owner.get(section) is None:
            owner[section] = {}
        owner = owner[section]
        if not isinstance(owner, dict):
            raise ValueError(f"--set is {setting!r}, but {section} is a value and has no keys: set all of it.")
    try:
        owner[last] = json.loads(text)
    except (ValueError, RecursionError):
        owner[last] = text
