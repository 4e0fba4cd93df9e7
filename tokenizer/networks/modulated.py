"""Convolutional networks whose decoder sees the latent in every normalisation (MoVQ, arXiv 2209.09002).

With the options for layers at the latent it is what the video tokenizer of Emu3 (arXiv 2409.18869) computes for a still image.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from ..shapes import Latent, Pixels
from .base import ArchitectureConfig, Channels, Decoder, Encoder
from .blocks import in_float32, kernels_except
from .convolutional import ConvolutionalConfig, ConvolutionalDecoder, ConvolutionalEncoder
from .latent_layers import latent_blocks, latent_convolutions
from .levels import StackConfig, run_layers
from .modulated_norm import modulate
from .norm_silu import silu_of_norm

MAX_LAYERS = 16


class ModulatedConfig(ArchitectureConfig):
    """Shape of the autoencoder; its grid is 2 ** (levels - 1) times smaller than the image.

    Both networks end at the quantizer with a 1 x 1 convolution of their own, as the decoder is modulated by what the quantizer
    gives.
    """

    name: Literal["modulated"] = "modulated"
    """Family of the networks: modulated."""
    encoder: StackConfig
    """Levels of the encoder."""
    decoder: StackConfig
    """Levels of the decoder."""
    latent_channels: Channels = 4
    """Channels of the latent."""
    quantizer_convolutions: bool = False
    """Whether further convolutions lead into the quantizer and out of it; without them latent_channels is its dim."""
    latent_convolutions: Annotated[list[Channels], Field(max_length=MAX_LAYERS)] = []
    """Widths of 3 x 3 convolutions after the encoder, the last latent_channels. The decoder begins with as many, all of it."""
    latent_blocks: Annotated[int, Field(ge=0, le=MAX_LAYERS)] = 0
    """Residual blocks between those convolutions and the quantizer, on either side."""

    @model_validator(mode="after")
    def _parts_agree(self) -> "ModulatedConfig":
        if self.latent_convolutions and self.latent_convolutions[-1] != self.latent_channels:
            raise ValueError(
                f"latent_convolutions ends with {self.latent_convolutions[-1]} but latent_channels is "
                f"{self.latent_channels}: make them equal."
            )
        self.convolutional()
        return self

    def convolutional(self) -> ConvolutionalConfig:
        """Return the shape of the networks without what is special here."""
        return ConvolutionalConfig.model_validate(
            {
                "encoder": self.encoder.model_dump(),
                "decoder": self.decoder.model_dump(),
                "latent_channels": self.latent_channels,
            }
        )

    @property
    def downsample(self) -> int:
        return self.convolutional().downsample

    def latent_grid(self, height: int, width: int) -> tuple[int, int]:
        return height // self.downsample, width // self.downsample

    def build_encoder(self) -> "ModulatedEncoder":
        return ModulatedEncoder(self)

    def build_decoder(self) -> "ModulatedDecoder":
        return ModulatedDecoder(self)


class ModulatedEncoder(Encoder):
    """The convolutional encoder, then layers at the latent."""

    def __init__(self, config: ModulatedConfig):
        super().__init__()
        self.network = ConvolutionalEncoder(config.convolutional())
        self.convolutions = latent_convolutions([config.latent_channels, *config.latent_convolutions])
        self.blocks = latent_blocks(config.latent_channels, config.latent_blocks)
        self.project = nn.Conv2d(config.latent_channels, config.latent_channels, 1)

    def forward(self, pixels: Pixels) -> Latent:
        return self.project(self.blocks(self.convolutions(self.network(pixels))))

    def hidden_matrices(self) -> list[str]:
        return kernels_except(self, "network.conv_in.weight", "project.weight")


class ModulatedDecoder(Decoder):
    """Layers at the latent, then the convolutional decoder, modulated by the latent after these layers.

    The layers run twice with the same weights: on the latent itself, which modulates, and on its projection, which is decoded.
    """

    traced = "features"

    def __init__(self, config: ModulatedConfig):
        super().__init__()
        channels = config.latent_channels
        self.project = nn.Conv2d(channels, channels, 1)
        self.blocks = latent_blocks(channels, config.latent_blocks)
        self.convolutions = latent_convolutions([channels] * (len(config.latent_convolutions) + 1))
        self.network = ConvolutionalDecoder(config.convolutional())
        modulate(self.network, channels)

    def forward(self, latent: Latent) -> Pixels:
        return in_float32(self.network.conv_out, self.features(latent))

    def features(self, latent: Latent) -> Tensor:
        """Return what the last layer gets."""
        modulating, decoded = (self.convolutions(self.blocks(each)) for each in (latent, self.project(latent)))
        x = run_layers(self.network.middle, self.network.conv_in(decoded), modulating)
        x = run_layers(self.network.levels, x, modulating)
        return silu_of_norm(self.network.norm_out, x, modulating)

    def hidden_matrices(self) -> list[str]:
        return kernels_except(self, "project.weight", "network.conv_out.weight")

    @property
    def last_layer(self) -> nn.Parameter:
        return self.network.last_layer
