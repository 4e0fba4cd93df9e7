"""The table of criteria, and the section `criteria` of a run: `{perceptual: {backbone: convnext_tiny}}`."""

from collections.abc import Mapping
from typing import Any

import torch

from ...tokenizer.config import ConfigError, parse_config
from ...tokenizer.wording import unknown_choice
from .criterion import Criterion, CriterionConfig
from .perceptual import PerceptualCriterionConfig

__all__ = ["CRITERIA", "Criterion", "CriterionConfig", "build_criteria", "criterion_of", "is_used", "parse_criteria"]

CRITERIA: dict[str, type[CriterionConfig]] = {
    "perceptual": PerceptualCriterionConfig,
}
"""Criteria by name. To add one, write its config and its module in a file of its own, and add a line here."""


def parse_criteria(sections: Mapping[str, Any]) -> dict[str, CriterionConfig]:
    """Build the config of each criterion from its section; raise ConfigError when a name or a key is unknown."""
    return {name: _parsed(str(name), values) for name, values in sections.items()}


def _parsed(name: str, values: Any) -> CriterionConfig:
    if isinstance(values, CriterionConfig):
        return values
    section = f"criteria.{name}"
    if name not in CRITERIA:
        raise ConfigError(unknown_choice("criterion", section, name, list(CRITERIA)))
    return parse_config(CRITERIA[name], values, section)


def criterion_of(loss_name: str) -> str | None:
    """Return the name of the criterion in CRITERIA that has a loss, or None."""
    return next((name for name, config in CRITERIA.items() if loss_name in config.loss_names), None)


def is_used(config: type[CriterionConfig], weights: Mapping[str, float]) -> bool:
    """Return whether any loss of a criterion has a weight above 0."""
    return any(weights.get(name) for name in config.loss_names)


def build_criteria(
    configs: Mapping[str, CriterionConfig], weights: Mapping[str, float], device: torch.device
) -> list[Criterion]:
    """Build the criteria that have a loss with a weight above 0, frozen and in eval mode."""
    used = [config for config in configs.values() if is_used(type(config), weights)]
    return [config.build().to(device).requires_grad_(False).eval() for config in used]
