"""The families of networks, one table."""

from typing import Annotated, TypeAlias

from ..config import Choice
from .base import ArchitectureConfig
from .convolutional import ConvolutionalConfig
from .hybrid import HybridConfig
from .latent_tokens import LatentTokensConfig
from .modulated import ModulatedConfig

ARCHITECTURES: dict[str, type[ArchitectureConfig]] = {
    "convolutional": ConvolutionalConfig,
    "hybrid": HybridConfig,
    "latent_tokens": LatentTokensConfig,
    "modulated": ModulatedConfig,
}

Architecture: TypeAlias = Annotated[ArchitectureConfig, Choice(ARCHITECTURES, default="convolutional")]
"""A field that takes any family of the table; without a name it is the convolutional one."""
