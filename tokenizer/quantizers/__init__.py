"""Quantizers, one table: a latent `b d y x` to tokens `b q y x` and back."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from ..config import parse_config, unknown_choice
from .base import Quantized, Quantizer
from .scalar import FSQConfig
from .vector import GRADIENTS, EMAConfig, SimVQConfig, VQConfig

QuantizerConfig: TypeAlias = VQConfig | EMAConfig | SimVQConfig | FSQConfig

QUANTIZERS: dict[str, type[QuantizerConfig]] = {
    "vq": VQConfig,
    "ema": EMAConfig,
    "simvq": SimVQConfig,
    "fsq": FSQConfig,
}


def parse_quantizer(values: Mapping[str, Any], section: str = "quantizer") -> QuantizerConfig:
    """Build the config that `values["name"]` names; raise ValueError when the name or a key is unknown."""
    name = values.get("name")
    if name not in QUANTIZERS:
        raise ValueError(unknown_choice("quantizer", f"{section}.name {name!r}", str(name), list(QUANTIZERS)))
    return parse_config(QUANTIZERS[name], values, section)


def build_quantizer(values: Mapping[str, Any]) -> Quantizer:
    """Build a quantizer from plain values, e.g. `{"name": "simvq", "dim": 8, "codebook_size": 1024}`."""
    return parse_quantizer(values).build()


__all__ = ["GRADIENTS", "QUANTIZERS", "Quantized", "Quantizer", "QuantizerConfig", "build_quantizer", "parse_quantizer"]
