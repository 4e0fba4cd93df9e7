"""What every extra decoder promises: a config that builds it, and pixels from codes, the plain answer and noise."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor, nn

from ..config import Config
from ..networks.base import ArchitectureConfig, Decoder, Network
from ..quantizers import Quantizer
from ..shapes import Latent, Pixels

PLAIN = "plain"
"""Name of the decoder of model.safetensors."""
GENERATIVE = "generative"
"""Name of an extra decoder unless the user gives another; previews show it."""
MAX_STEPS = 25


class PlainDecoder(NamedTuple):
    """The parts of a tokenizer that the plain decoder's answer depends on."""

    quantizer: Quantizer
    quantizer_out: nn.Module
    decoder: Decoder


class DecoderCard(Config):
    """How good a decoder is, and by which measurement."""

    images: int | None = None
    """Number of images that the figures are means of."""
    judge: str = ""
    """Images of the measurement, and the network of its perceptual distance, in words."""
    figures: dict[str, float] = {}
    """Figures of this decoder, by names such as psnr, ssim and perceptual."""
    plain: dict[str, float] = {}
    """The same figures of the plain decoder."""
    milliseconds: float | None = None
    """Time to decode one image of the measurement, alone."""
    plain_milliseconds: float | None = None
    """The same of the plain decoder, measured in turns."""


class DecoderConfig(Config, ABC):
    """Shape of an extra decoder."""

    name: str
    """Kind of the decoder."""

    @abstractmethod
    def build(self, architecture: ArchitectureConfig, code_channels: int) -> "ExtraDecoder":
        """Build the decoder with fresh weights, for the tokenizer of `architecture` whose codes have `code_channels`.

        Raises ValueError when the two do not fit.
        """


class ExtraDecoder(Network):
    """Map codes, the plain decoder's answer and noise to pixels."""

    max_steps: ClassVar[int] = 1
    """Largest number of steps that it can take."""
    scale: float = 1.0
    """Root mean square of the residual that it was trained on: the images minus the plain decoder's answers."""
    steps: int = 1
    """Passes through the network for one image, from 1 to `max_steps`."""
    trained_for: str = ""
    """Digest of the codes and the plain decoder that it was trained with; empty before it is saved."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.config = config
        self.card = DecoderCard()

    @abstractmethod
    def noise_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return channels and grid of the noise of one image of `height` x `width` pixels."""

    @abstractmethod
    def forward(self, codes: Latent, base: Pixels, noise: Tensor) -> Pixels:
        """Return float32 pixels in [-1, 1], not clamped.

        `codes` are what the quantizer's `lookup` returns, `base` is the plain decoder's answer before clamping, and `noise`
        has the shape `noise_shape` for each image, from a standard normal distribution.
        """

    @abstractmethod
    def start_from(self, plain: PlainDecoder) -> None:
        """Take over, in place, what a fresh decoder can from the plain one: weights, or the size of the codes."""

    @property
    @abstractmethod
    def last_layer(self) -> nn.Parameter:
        """Weight of the layer that makes the pixels, which adaptive adversarial weights are measured at."""

    @final
    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(self.parameters()).dtype
