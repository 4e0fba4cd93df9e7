"""Quantizers, one table: a latent `b d y x` to tokens `b q y x` and back."""

from collections.abc import Mapping
from typing import Any

from ..config import parse_choice
from .base import Quantized, Quantizer, QuantizerConfig, set_training_step, with_gradient_of
from .composed.grouped import GroupedConfig
from .composed.multiscale import MultiscaleConfig
from .composed.residual import ResidualConfig
from .gradients import GRADIENTS
from .lattice.leech import LeechConfig
from .observation import Observation
from .scalar.binary import BSQConfig, LFQConfig
from .scalar.fsp import FSPConfig
from .scalar.fsq import FSQConfig
from .single import FixedQuantizer, SingleQuantizer
from .vector.gumbel import GumbelConfig
from .vector.kinds import EMAConfig, FVQConfig, IBQConfig, SimVQConfig
from .vector.quantizer import VQConfig

QUANTIZERS: dict[str, type[QuantizerConfig]] = {
    "vq": VQConfig,
    "ema": EMAConfig,
    "simvq": SimVQConfig,
    "fvq": FVQConfig,
    "ibq": IBQConfig,
    "gumbel": GumbelConfig,
    "fsq": FSQConfig,
    "fsp": FSPConfig,
    "lfq": LFQConfig,
    "bsq": BSQConfig,
    "leech": LeechConfig,
    "residual": ResidualConfig,
    "grouped": GroupedConfig,
    "multiscale": MultiscaleConfig,
}
"""The quantizers that can be chosen by name."""


def build_quantizer(values: Mapping[str, Any]) -> Quantizer:
    """Build a quantizer from plain values, e.g. `{"name": "simvq", "dim": 8, "codebook_size": 1024}`."""
    return parse_choice(QUANTIZERS, values, "quantizer").build()


__all__ = [
    "GRADIENTS",
    "QUANTIZERS",
    "FixedQuantizer",
    "Observation",
    "Quantized",
    "Quantizer",
    "QuantizerConfig",
    "SingleQuantizer",
    "build_quantizer",
    "set_training_step",
    "with_gradient_of",
]
