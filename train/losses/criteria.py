"""The table of criteria, and the section `criteria` of a run: `{perceptual: {backbone: convnext_tiny}}`."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...perception.distance import PerceptualConfig, build_perceptual
from ...tokenizer.config import ConfigError, parse_config
from ...tokenizer.shapes import Pixels
from ...tokenizer.wording import unknown_choice
from .criterion import Criterion, CriterionConfig
from .latent import LatentCriterionConfig

__all__ = ["CRITERIA", "Criterion", "CriterionConfig", "build_criteria", "criterion_of", "is_used", "parse_criteria"]


class PerceptualCriterionConfig(PerceptualConfig, CriterionConfig):
    """Perceptual distance, by LPIPS or any timm model."""

    loss_names: ClassVar[tuple[str, ...]] = ("perceptual",)

    def build(self) -> Criterion:
        return PerceptualCriterion(build_perceptual(self))


class PerceptualCriterion(Criterion):
    """The mean over images of a distance that returns ` b`."""

    def __init__(self, distance: nn.Module):
        super().__init__()
        self.distance = distance

    def terms(self, images: Pixels, reconstruction: Pixels) -> dict[str, Tensor]:
        return {"perceptual": self.distance(images, reconstruction).mean()}


CRITERIA: dict[str, type[CriterionConfig]] = {
    "perceptual": PerceptualCriterionConfig,
    "latent": LatentCriterionConfig,
}
"""Criteria by name. To add one, write its config and its module in a new file, and add a line here."""


def parse_criteria(sections: Mapping[str, Any]) -> dict[str, CriterionConfig]:
    """Build the config of each criterion from its section; raise ConfigError when a name or a key is unknown."""
    for name in sections:
        if name not in CRITERIA:
            raise ConfigError(unknown_choice("criterion", f"criteria.{name}", str(name), list(CRITERIA)))
    return {
        name: values
        if isinstance(values, CriterionConfig)
        else parse_config(CRITERIA[name], values, f"criteria.{name}")
        for name, values in sections.items()
    }


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
