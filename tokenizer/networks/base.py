"""What every network family promises: an encoder, a decoder, and what training asks of them."""

from abc import ABC, abstractmethod
from typing import Annotated

from pydantic import Field
from torch import nn

from ..config import Config
from ..shapes import Latent, Pixels

Channels = Annotated[int, Field(ge=1, le=1 << 15)]
"""Far above what networks have: a config may come from anywhere, and more would take hours to build."""


class Encoder(nn.Module, ABC):
    """Map pixels to a latent."""

    @abstractmethod
    def forward(self, pixels: Pixels) -> Latent:
        """Return the latent of pixels whose height and width are multiples of the downsampling."""

    @abstractmethod
    def hidden_matrices(self) -> list[str]:
        """Return the names of the parameters that Muon takes: matrices and kernels between the first and the last layer."""


class Decoder(nn.Module, ABC):
    """Map a latent to pixels."""

    @abstractmethod
    def forward(self, latent: Latent) -> Pixels:
        """Return pixels, not clamped: training needs the gradient outside [-1, 1]."""

    @abstractmethod
    def hidden_matrices(self) -> list[str]:
        """Return the names of the parameters that Muon takes, as an encoder does."""

    @property
    @abstractmethod
    def last_layer(self) -> nn.Parameter:
        """Weight of the layer that makes the pixels, which adaptive adversarial weights are measured at."""


class ArchitectureConfig(Config, ABC):
    """Shape of an encoder and a decoder.

    The two are built one by one: the layers around the quantizer are drawn in between, so that a seed keeps its weights.
    The fingerprint of a tokenizer covers all fields but one named `decoder`, which may hold what concerns the decoder alone.
    """

    name: str
    """Family of the networks."""
    latent_channels: Channels
    """Channels of the encoder's latent."""
    quantizer_convolutions: bool = True
    """Whether 1 x 1 convolutions lead into the quantizer and out of it; without them latent_channels is its dim."""

    @property
    @abstractmethod
    def downsample(self) -> int:
        """Pixels along one side of a position of the latent."""

    @abstractmethod
    def build_encoder(self) -> Encoder:
        """Build the encoder with fresh weights."""

    @abstractmethod
    def build_decoder(self) -> Decoder:
        """Build the decoder with fresh weights."""
