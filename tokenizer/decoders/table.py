"""The kinds of extra decoders, one table."""

from typing import Annotated, TypeAlias

from ..config import Choice
from .base import DecoderConfig
from .noise_channels import NoiseChannelsConfig
from .residual_unet import ResidualUNetConfig

DECODERS: dict[str, type[DecoderConfig]] = {
    "noise_channels": NoiseChannelsConfig,
    "residual_unet": ResidualUNetConfig,
}

ExtraDecoderConfig: TypeAlias = Annotated[DecoderConfig, Choice(DECODERS)]
"""A field that takes any kind of the table."""
