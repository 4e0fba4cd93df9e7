"""Quantizers, one table: a latent `b d y x` to tokens `b q y x` and back."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from .base import Quantized, Quantizer, set_training_step
from .composed.grouped import GroupedConfig
from .composed.multiscale import MultiscaleConfig
from .composed.residual import ResidualConfig
from .gradients import GRADIENTS
from .table import ELEMENTARY, ElementaryConfig, parse_by_name

QuantizerConfig: TypeAlias = ElementaryConfig | ResidualConfig | GroupedConfig | MultiscaleConfig

QUANTIZERS: dict[str, type[QuantizerConfig]] = {
    **ELEMENTARY,
    "residual": ResidualConfig,
    "grouped": GroupedConfig,
    "multiscale": MultiscaleConfig,
}


def parse_quantizer(values: object, section: str = "quantizer") -> QuantizerConfig:
    """Build the config that `values["name"]` names; raise ValueError when the name or a key is unknown."""
    return parse_by_name(QUANTIZERS, values, section)


def build_quantizer(values: Mapping[str, Any]) -> Quantizer:
    """Build a quantizer from plain values, e.g. `{"name": "simvq", "dim": 8, "codebook_size": 1024}`."""
    return parse_quantizer(values).build()


__all__ = [
    "GRADIENTS",
    "QUANTIZERS",
    "Quantized",
    "Quantizer",
    "QuantizerConfig",
    "build_quantizer",
    "parse_quantizer",
    "set_training_step",
]
